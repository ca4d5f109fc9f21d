"""Carries a websocket over an asyncio transport: one message in, one message out, then the end.

What the bytes mean is decided by websockets, whose protocol classes do no I/O. Its own asyncio
connections do much more than one question and one answer need, and their import takes longer than
ten ignitions.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.protocol import Protocol

__all__ = ["CLOSE_LIMIT", "Wire"]

#: How long the other side may take to close the connection once that is due, in seconds.
CLOSE_LIMIT = 0.5
#: Frames that one message may be cut into.
FRAGMENTS = 1024

#: The sans-I/O protocol of one side.
Side = TypeVar("Side", bound="Protocol")


class Wire(asyncio.Protocol, Generic[Side]):
    """One connection. ``message`` is the first message, or fails with ConnectionClosed.

    ``opened`` is done when the opening handshake is, and fails with what was wrong with it;
    ``ended`` when nothing of the connection is left.
    """

    def __init__(self, protocol: Side) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self.protocol = protocol
        self.opened: asyncio.Future[None] = loop.create_future()
        self.message: asyncio.Future[str | bytes] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._closing = False
        self._writable = asyncio.Event()
        self._writable.set()

    # -- what the other side does ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        self._proceed()

    def eof_received(self) -> None:
        self.protocol.receive_eof()
        self._proceed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.receive_eof()
        self.protocol.data_to_send()
        self._writable.set()
        self._settle_opening()
        if not self.message.done():
            self.message.set_exception(self.protocol.close_exc)
            self.message.exception()  # Nobody may be waiting for it.
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()
        self.transport.pause_reading()  # Whoever asks and never reads is not answered without end.

    def resume_writing(self) -> None:
        self._writable.set()
        self.transport.resume_reading()

    def greeted(self, greeting: Request | Response) -> None:
        """Take note of the other side's part of the opening handshake."""

    def heard(self, message: str | bytes) -> None:
        """Take the first message; what follows it is dropped."""
        self.message.set_result(message)

    # -- what this side does --------------------------------------------------------------------

    async def send(self, text: bytes) -> None:
        """Send a text message; returns when it has been handed over. Raises ConnectionClosed."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_text(text)
            self.flush()
            await self._writable.wait()
        else:
            await asyncio.shield(self.ended)
        if self.ended.done():
            raise self.protocol.close_exc

    def begin_close(self) -> None:
        """Say that this was all, and give the other side a moment to agree."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
        self.flush()

    async def close(self, *, politely: bool) -> None:
        """End the connection; returns when it is gone."""
        if politely:
            self.begin_close()
            await asyncio.wait([self.ended], timeout=CLOSE_LIMIT)
        self.transport.abort()
        await self.ended

    def flush(self) -> None:
        """Send what the protocol has to say."""
        for data in self.protocol.data_to_send():
            if self.transport.is_closing():
                break
            if data:
                self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()
        if self.protocol.close_expected() and not self._closing:
            self._closing = True
            self._loop.call_later(CLOSE_LIMIT, self.transport.abort)

    # -- in between -----------------------------------------------------------------------------

    def _proceed(self) -> None:
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._collect(event)
            else:
                self.greeted(event)
        self._settle_opening()
        self.flush()

    def _settle_opening(self) -> None:
        fault = self.protocol.handshake_exc
        if self.opened.done():
            return
        if fault is not None:
            self.opened.set_exception(fault)
            self.opened.exception()
        elif self.protocol.state is State.OPEN:
            self.opened.set_result(None)

    def _collect(self, frame: Frame) -> None:
        """Put the fragments of a message together; the protocol has checked their order and size."""
        if self.message.done() or frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            if len(self._parts) >= FRAGMENTS:
                self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            return
        data: Any = b"".join(self._parts)
        self._parts.clear()
        if self._opcode is Opcode.TEXT:
            try:
                data = data.decode()
            except UnicodeDecodeError as fault:
                self.protocol.fail(CloseCode.INVALID_DATA, f"{fault.reason} at position {fault.start}")
                return
        self.heard(data)
