"""The control socket: who may speak to a running mission, and how long it listens to anybody."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from razar.control.address import REQUEST_LIMIT, address
from razar.control.messages import Mission, Refusal, Repairs, Request, parse
from razar.control.requests import Requests

__all__ = ["ControlError", "ControlServer"]

#: Clients at once; one more is told so and sent away.
CLIENTS = 64
#: Seconds in which a request must have arrived.
REQUEST_TIME = 30.0
#: Seconds in which a client must have taken what it was sent.
SEND_TIME = 5.0
#: Seconds that answers on their way get when the server closes.
FAREWELL = 1.0
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class ControlError(OSError):
    """The socket cannot be opened; the message says why. The mission can run without it."""


class ControlServer:
    """Serves ``razar.sock``: one JSON object a line in, one or several out.

    A request is ``{"request": "ping" | "status" | "stop" | "restart" | "release", …}`` with the
    fields of :class:`~razar.control.messages.Request`. Each answer ends in a line
    ``{"ok": true, "result": {…}}`` or ``{"ok": false, "code": "…", "error": "…"}``; before it
    there may be lines ``{"progress": {…}}``.

    Only the user who runs the mission and root are heard. ``path`` is where the socket is made;
    whoever calls ``start`` holds the lock of the mission. ``holders`` names the processes of a
    component that are still there, ``on_stop`` begins the stop of the whole mission, ``release``
    records that a component leaves the quarantine, with a note, and tells whether it was in it.
    ``owner`` is the uid that is heard besides root.
    """

    def __init__(
        self,
        mission: Mission,
        *,
        path: str,
        holders: Callable[[str], list[str]],
        on_stop: Callable[[], None],
        release: Callable[[str, str], bool],
        repairs: Repairs | None = None,
        owner: int | None = None,
    ) -> None:
        self.path = path
        self._requests = Requests(mission, holders=holders, on_stop=on_stop, release=release, repairs=repairs)
        self._owner = os.geteuid() if owner is None else owner
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self._clients: dict[asyncio.Task[None], bool] = {}

    async def start(self) -> None:
        """Make the socket and listen, also anew if its file was taken away. Raises ControlError.

        Conversations go on.
        """
        before = self._server
        if before is not None and self._is_there():
            return
        self._identity = None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # The mode of a socket before it is bound is the one its file is made with.
            os.fchmod(sock.fileno(), 0o600)
            with address(self.path) as where:
                _clear(self.path, where)
                sock.bind(where)
            made = os.lstat(self.path)
            self._identity = (made.st_dev, made.st_ino)
            self._server = await _listen(self._serve, sock)
        except OSError as fault:
            sock.close()
            self._remove()
            if isinstance(fault, ControlError):
                raise
            raise ControlError(f"{self.path}: {fault.strerror or fault}") from None
        if before is not None:
            before.close()

    async def close(self) -> None:
        """Stop listening, remove the socket; answers that are due get a second to leave."""
        self._remove()
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, busy in list(self._clients.items()):
            if not busy:
                task.cancel()
        if self._clients:
            await asyncio.wait(list(self._clients), timeout=FAREWELL)
        for task in list(self._clients):
            task.cancel()
        if self._clients:
            await asyncio.wait(list(self._clients))

    def _remove(self) -> None:
        """Remove the socket's file, unless another one has taken its place."""
        try:
            if self._is_there():
                os.unlink(self.path)
        except OSError:
            pass  # The folder was made read-only: the next server clears it away.
        self._identity = None

    def _is_there(self) -> bool:
        try:
            now = os.lstat(self.path)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == self._identity

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = False
        writer.transport.set_write_buffer_limits(high=0)  # drain() then waits for all of it.
        try:
            fault = self._turn_away(writer)
            if fault is not None:
                await _send(writer, fault.answer())
            else:
                await self._converse(task, reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # The client has left, is too slow, or the server closes.
        finally:
            del self._clients[task]
            writer.transport.abort()

    def _turn_away(self, writer: asyncio.StreamWriter) -> Refusal | None:
        peer: socket.socket = writer.get_extra_info("socket")
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, self._owner):
            return Refusal(
                "forbidden", f"uid {uid} may not control this mission; uid {self._owner} and root may"
            )
        if len(self._clients) > CLIENTS:
            return Refusal("busy", f"{CLIENTS} clients are connected already")
        return None

    async def _converse(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while self._server is not None:
            async with asyncio.timeout(REQUEST_TIME):
                try:
                    line = await reader.readline()
                except ValueError:
                    fault = Refusal("bad_request", f"the request is longer than {REQUEST_LIMIT} bytes")
                    await _send(writer, fault.answer())
                    return
            if not line:
                return
            self._clients[task] = True
            try:
                await _send(writer, await self._answer(parse(line), writer))
            except Refusal as fault:
                await _send(writer, fault.answer())
            self._clients[task] = False

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> Mapping[str, Any]:
        async def progress(news: Mapping[str, Any]) -> None:
            await _send(writer, {"progress": news})

        try:
            return {"ok": True, "result": await self._requests.carry_out(request, progress)}
        except (Refusal, OSError, TimeoutError):
            raise
        except Exception as fault:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"control request {request.request} failed", "exception": fault}
            )
            raise Refusal("internal", f"{type(fault).__name__} in RAZAR itself; see its log") from None


async def _listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], sock: socket.socket
) -> asyncio.Server:
    if sys.version_info >= (3, 13):
        # The name it would remove may be one that only led to the socket while it was bound.
        return await asyncio.start_unix_server(serve, sock=sock, limit=REQUEST_LIMIT, cleanup_socket=False)
    return await asyncio.start_unix_server(serve, sock=sock, limit=REQUEST_LIMIT)


def _clear(path: str, where: str) -> None:
    """Remove what a dead supervisor left; raise ControlError if it is not that."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(f"{path} is there and is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(where)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # Its queue is full: somebody listens.
    raise ControlError(f"{path} is served by another process")


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    """Send one line; raise TimeoutError or OSError if the client does not take it."""
    writer.write(_encode(answer) + b"\n")
    async with asyncio.timeout(SEND_TIME):
        await writer.drain()


def _encode(answer: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:
        import json

        # A name that is no valid UTF-8 reaches Python as lone surrogates, which JSON can only escape.
        return json.dumps(answer).encode("ascii")
