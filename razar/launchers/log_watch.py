"""Notices that logs are written to, at most once a second each; asleep while nobody writes."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable

__all__ = ["LogWatch"]

#: Seconds for which a log that was written to is left alone.
PAUSE = 1.0

_IN_MODIFY, _IN_ONESHOT = 0x2, 0x80000000  # inotify(7)
_IN_CLOEXEC, _IN_NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_EVENT = struct.Struct("iIII")


class LogWatch:
    """Calls ``on_written`` with the key of each log that somebody has written to, now and again."""

    def __init__(self, on_written: Callable[[str], None]) -> None:
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._paths: dict[str, str] = {}
        self._keys: dict[int, str] = {}
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._fd = -1

    def watch(self, key: str, path: str) -> None:
        """Watch a log under a key, instead of any before; it is looked at for the first time soon."""
        self._cancel(key)
        self._paths[key] = path
        self._pause(key)

    def forget(self, key: str) -> None:
        """Watch it no longer."""
        self._paths.pop(key, None)
        self._cancel(key)

    def close(self) -> None:
        """Watch nothing."""
        for key in list(self._paths):
            self.forget(key)
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _pause(self, key: str) -> None:
        self._pauses[key] = self._loop.call_later(PAUSE, self._again, key)

    def _cancel(self, key: str) -> None:
        pause = self._pauses.pop(key, None)
        if pause is not None:
            pause.cancel()

    def _arm(self, key: str) -> bool:
        """Wait for the next write; False if the kernel has no more watches, or there is no such file."""
        import ctypes

        libc = ctypes.CDLL(None)
        if self._fd < 0:
            self._fd = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
            if self._fd < 0:
                return False
            self._loop.add_reader(self._fd, self._read)
        wd = libc.inotify_add_watch(
            self._fd, os.fsencode(self._paths[key]), ctypes.c_uint32(_IN_MODIFY | _IN_ONESHOT)
        )
        if wd < 0:
            return False
        self._keys[wd] = key
        return True

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            key = self._keys.get(wd)
            if key is None or not mask & _IN_MODIFY:
                continue
            del self._keys[wd]
            if key in self._paths and key not in self._pauses:
                self._pause(key)

    def _again(self, key: str) -> None:
        """A second is over since it was written to: look at all that came meanwhile."""
        del self._pauses[key]
        # Armed first, so that nothing written during the look goes unnoticed.
        if not self._arm(key):
            self._pause(key)  # The kernel has no more watches: look every second.
        self._on_written(key)
