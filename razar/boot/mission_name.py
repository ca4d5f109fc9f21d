"""A name that one supervisor holds for its mission, and that no ``rm`` or ``mv`` of the logs folder takes away.

It is an address in the abstract namespace of Unix sockets, made of where the logs folder is: the
identity of the folder above it, and its name. The kernel takes it back however its holder ends, and
says who that is. Within a network namespace only; elsewhere the lock's file has to do.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

__all__ = ["TakenError", "answer", "holder", "take"]

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
#: Bytes of the folder's name in the address, which has 107 in all.
_LONGEST_NAME = 50


class TakenError(Exception):
    """Somebody has the name; ``pid`` is 0 if it cannot be told."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"pid {pid}")
        self.pid = pid


def take(logs: str) -> socket.socket | None:
    """Take the name of a logs folder for as long as the socket is open; None if there are no such names here.

    Raises TakenError.
    """
    try:
        name = _name(logs)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError:
        return None
    try:
        sock.bind(name)
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE and (pid := holder(logs)) is not None:
            raise TakenError(pid) from None
        return None
    return sock


def answer(sock: socket.socket) -> None:
    """Send away who has asked for the holder: the kernel has told them."""
    try:
        while True:
            sock.accept()[0].close()
    except OSError:
        pass


def holder(logs: str) -> int | None:
    """Return the pid that holds the name, 0 if it cannot be told, None if nobody does.

    Anybody may take a name. Only the owner of the folder, root and we ourselves are believed.
    """
    try:
        name = _name(logs)
        owners = {0, os.geteuid(), os.stat(_above(logs)).st_uid}
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.connect(name)
            except BlockingIOError:
                return 0  # Many have asked at the same time.
            pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    except OSError:
        return None
    return pid if uid in owners else None


def _above(logs: str) -> str:
    return os.path.dirname(os.path.abspath(logs))


def _name(logs: str) -> bytes:
    above = os.stat(_above(logs))
    name = os.fsencode(os.path.basename(os.path.abspath(logs)))[-_LONGEST_NAME:]
    return b"\0razar/%x:%x/%s" % (above.st_dev, above.st_ino, name)
