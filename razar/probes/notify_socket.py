"""The receiving end of sd_notify(3): components tell RAZAR that they are ready."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct

from razar.launchers import procfs
from razar.launchers.reaper import NONCE

__all__ = ["NotifySocket"]

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid (unix(7))
_MESSAGE_LIMIT = 64 << 10
_DESCRIPTORS = 16
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(
    _DESCRIPTORS * array.array("i").itemsize
)
#: How many parents of a sender are looked at.
_GENERATIONS = 32


class NotifySocket:
    """One socket for one incarnation.

    It has a random name in the abstract namespace, which leaves nothing on disk. The kernel says
    who has sent a message; only the incarnation's own processes are listened to. READY=1 and
    STATUS= are understood, BARRIER=1 is answered, everything else is accepted and ignored.
    """

    def __init__(self) -> None:
        self.ready = False
        self.status: str | None = None
        self._refused: str | None = None
        self._nonce: str | None = None
        self._changed = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        name = f"razar/notify/{os.urandom(8).hex()}"
        self._socket.bind(f"\0{name}")
        #: The value for NOTIFY_SOCKET.
        self.address = f"@{name}"

    def listen(self, nonce: str) -> None:
        """Begin to read; senders are recognised by the nonce in their environment."""
        if self._nonce is None:
            self._nonce = nonce
            asyncio.get_running_loop().add_reader(self._socket, self._receive)

    async def wait(self, seconds: float) -> None:
        """Wait until something new was said, or for so many seconds."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def complaint(self) -> str:
        """Say why the component is not ready."""
        if self._refused is not None:
            return f"READY=1 was not received; {self._refused}"
        if self.status is not None:
            return f"READY=1 was not received yet; its status: {self.status}"
        return "READY=1 was not received yet on $NOTIFY_SOCKET"

    def close(self) -> None:
        """Stop listening."""
        if self._nonce is not None and self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_MESSAGE_LIMIT, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return
        sender = None
        for level, kind, content in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS:
                sender = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
            elif kind == socket.SCM_RIGHTS:
                # Closing them is also the answer to BARRIER=1.
                received = array.array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                for descriptor in received:
                    os.close(descriptor)
        if sender is None or not self._is_ours(sender[0], sender[1]):
            pid = sender[0] if sender else 0
            self._refused = f"a message from pid {pid}, which does not belong to this component, was ignored"
            return
        for line in data.decode(errors="replace").split("\n"):
            name, _, value = line.partition("=")
            if name == "READY" and value == "1":
                self.ready = True
                self._changed.set()
            elif name == "STATUS":
                from razar.utils.redaction import one_line

                self.status = one_line(value, 200)

    def _is_ours(self, pid: int, uid: int) -> bool:
        """Look for the nonce in the sender, its session's leader and its ancestors."""
        try:
            entry = procfs.stat(pid)
            if entry is not None and not entry.ended:
                if self._descends(entry):
                    return True
                now = procfs.stat(pid)
                if now is not None and not now.ended:
                    return False
        except OSError:
            pass  # No descriptor is left to look with.
        # A short-lived helper like systemd-notify has gone already, perhaps while it was looked at: one
        # that has ended shows no environment. Nobody outside this incarnation has been told the name of
        # the socket.
        return uid in (0, os.geteuid())

    def _descends(self, entry: procfs.Stat) -> bool:
        if self._has_nonce(entry.session):
            return True
        for _ in range(_GENERATIONS):
            if self._has_nonce(entry.pid):
                return True
            parent = procfs.stat(entry.ppid) if entry.ppid > 1 else None
            if parent is None:
                return False
            entry = parent
        return False

    def _has_nonce(self, pid: int) -> bool:
        return procfs.environment_value(pid, NONCE) == self._nonce
