"""An agent that is a program: lines in both directions, and nothing of it left when it is over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import TracebackType

from agents.razar.errors import AnswerTooLargeError, ConfigurationError
from razar.launchers.processes import NONCE, Family, Status, explain, spawn

__all__ = ["AgentProcess"]

#: Largest line and largest output of an agent, in bytes.
LINE_LIMIT = 16 << 20
OUTPUT_LIMIT = 64 << 20
#: Bytes of its complaints that are kept.
_COMPLAINTS = 8192
#: Seconds for which its end is waited for after KILL.
_KILL_TIME = 5.0


class AgentProcess:
    """A program in a session of its own; leaving the context kills it with all that descends from it."""

    def __init__(self, name: str, argv: Sequence[str], *, cwd: str, env: Mapping[str, str]) -> None:
        self._name = name
        self._argv = tuple(argv)
        self._cwd = cwd
        self._env = {**env, NONCE: f"-{os.urandom(8).hex()}"}
        self._complaints = bytearray()
        self._received = 0
        self._transports: list[asyncio.BaseTransport] = []

    async def __aenter__(self) -> AgentProcess:
        loop = asyncio.get_running_loop()
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = pipes
        try:
            child = spawn(
                self._argv,
                cwd=self._cwd,
                env=self._env,
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=theirs_err,
            )
        except (OSError, ValueError) as error:
            for fd in (ours_in, ours_out, ours_err):
                os.close(fd)
            told = explain(error, self._argv, self._cwd, self._env.get("PATH"))
            raise ConfigurationError(f"{self._name}: {told}") from None
        finally:
            for fd in (theirs_in, theirs_out, theirs_err):
                os.close(fd)
        self._gone: asyncio.Future[Status] = loop.create_future()
        self._family = Family(child, self._env[NONCE], self._ended)
        self._reader = asyncio.StreamReader(limit=LINE_LIMIT)
        try:
            await self._connect(loop, ours_in, ours_out, ours_err)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _connect(self, loop: asyncio.AbstractEventLoop, to: int, out: int, err: int) -> None:
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), os.fdopen(out, "rb", 0)
        )
        self._transports.append(reading)
        complaints, _ = await loop.connect_read_pipe(lambda: _Tail(self._complaints), os.fdopen(err, "rb", 0))
        self._transports.append(complaints)
        writing, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(to, "wb", 0)
        )
        self._transports.append(writing)
        self._writer = asyncio.StreamWriter(writing, protocol, None, loop)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._family.kill()
        try:
            await asyncio.wait([self._gone], timeout=_KILL_TIME)
        finally:
            for transport in self._transports:
                if isinstance(transport, asyncio.WriteTransport):
                    if not transport.is_closing():
                        transport.abort()  # What it never read is not waited for.
                else:
                    transport.close()

    def _ended(self, status: Status) -> None:
        if not self._gone.done():
            self._gone.set_result(status)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send bytes; ConnectionError if it does not read any more. ``last`` closes its input."""
        self._writer.write(data)
        await self._writer.drain()
        if last:
            self._writer.close()

    async def line(self) -> bytes:
        """The next line, empty at the end. Raises AnswerTooLargeError."""
        try:
            line = await self._reader.readline()
        except ValueError:
            raise AnswerTooLargeError(f"{self._name}: a line has more than {LINE_LIMIT:,} bytes") from None
        self._received += len(line)
        if self._received > OUTPUT_LIMIT:
            raise AnswerTooLargeError(f"{self._name}: the answer has more than {OUTPUT_LIMIT:,} bytes")
        return line

    async def end(self) -> Status:
        """Wait until it has ended, with everything it started."""
        return await asyncio.shield(self._gone)

    @property
    def complaints(self) -> str:
        """The last it wrote to stderr: not yet fit to be shown."""
        return self._complaints.decode(errors="replace")


class _Tail(asyncio.Protocol):
    def __init__(self, kept: bytearray) -> None:
        self._kept = kept

    def data_received(self, data: bytes) -> None:
        self._kept += data
        del self._kept[:-_COMPLAINTS]
