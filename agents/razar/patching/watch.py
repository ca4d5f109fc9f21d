"""Notices which files are opened, whoever opens them and under whatever name."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

__all__ = ["Opened"]

# inotify(7)
_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")


class Opened:
    """Watches files of a folder for being opened, through inotify, from its making until ``close``.

    The watch is on the file, not its name, so it also works across mount namespaces. Opening a file
    is what an interpreter does to run it; it does not prove that the run reached every line.
    """

    def __init__(self, folder: str, paths: Iterable[str]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify is not available")
        self._paths: dict[int, str] = {}
        self._seen: set[str] = set()
        for path in paths:
            number = libc.inotify_add_watch(self._fd, os.fsencode(os.path.join(folder, path)), _IN_OPEN)
            if number < 0:
                code = ctypes.get_errno()
                self.close()
                raise OSError(code, os.strerror(code), path)
            self._paths[number] = path

    def seen(self) -> frozenset[str]:
        """The paths that have been opened until now."""
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return frozenset(self._seen)
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                if mask & _IN_OPEN and number in self._paths:
                    self._seen.add(self._paths[number])

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
