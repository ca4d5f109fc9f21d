"""Notices that somebody has moved or removed the logs folder of a running mission, and puts it right."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Awaitable, Callable

from razar.boot import mission_name
from razar.boot.mission_lock import AlreadyRunningError, MissionLock
from razar.control.address import LOCK_NAME, SOCKET_NAME
from razar.projections.wording import Level

__all__ = ["LogsGuard"]

#: Seconds after which it is looked what has become of the folder: ``rm -r`` has got done by then.
SETTLE = 0.25
#: Seconds for which the new lock may be held by others, who look at it or are about to be refused, and
#: after which it is looked whether they still do.
PASSING = 2.0
PASSING_STEP = 0.02
#: Seconds after which it is tried again to make the lock anew.
RETRY = 5.0

_IN_ATTRIB = 0x004  # inotify(7): also when a name of the file was removed
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_IN_CLOEXEC = 0o2000000
_IN_NONBLOCK = 0o4000


class LogsGuard:
    """Without its lock and control socket a mission could not be found, stopped, or kept from a second boot.

    The kernel tells when one of them, or the folder, is moved or removed, so an idle supervisor stays
    idle. ``renew`` is called then: it has the control socket made anew where that is needed.
    """

    def __init__(
        self,
        logs: str,
        lock: MissionLock,
        *,
        renew: Callable[[bool], Awaitable[None]],
        say: Callable[[Level, str], None],
    ) -> None:
        self._logs = logs
        self._lock = lock
        self._renew = renew
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._complaint = ""
        self._held_since: float | None = None

    def start(self) -> None:
        """Begin to watch, with a look at what may have happened before."""
        if self._lock.name is not None:
            self._loop.add_reader(self._lock.name, mission_name.answer, self._lock.name)
        self._watch()
        self._look_in(SETTLE)

    async def close(self) -> None:
        """Watch no longer."""
        if self._lock.name is not None:
            self._loop.remove_reader(self._lock.name)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._forget()

    def _watch(self) -> None:
        """Watch what is there now; what the kernel refuses to watch is not watched."""
        self._forget()
        libc = ctypes.CDLL(None)
        self._fd = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
        if self._fd < 0:
            return
        self._loop.add_reader(self._fd, self._changed)
        mask = ctypes.c_uint32(_IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF)
        for name in ("", LOCK_NAME, SOCKET_NAME):
            libc.inotify_add_watch(self._fd, os.fsencode(os.path.join(self._logs, name)), mask)

    def _forget(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _changed(self) -> None:
        try:
            os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return
        self._look_in(SETTLE)

    def _look_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._look())

    async def _look(self) -> None:
        try:
            restored = self._lock.restore()
            await self._renew(restored)
        except AlreadyRunningError as error:
            now = self._loop.time()
            self._held_since = self._held_since or now
            if now - self._held_since < PASSING:
                self._look_in(PASSING_STEP)
                return
            holder = f"pid {error.pid}" if error.pid else "another process"
            self._complain(f"{self._logs} is not the folder it was, and {holder} holds its lock now")
        except OSError as error:
            self._complain(
                f"the logs folder {self._logs} was moved or removed, and cannot be made anew: {error.strerror}"
            )
        else:
            self._complaint = ""
            self._held_since = None
            if restored:
                self._say(
                    "ERROR",
                    f"the logs folder {self._logs} was moved or removed while the mission runs; lock and control "
                    "socket are made anew. What components write goes to the old files until they are restarted",
                )
            self._watch()
            if not self._lock.is_there():  # Gone before it was watched.
                self._look_in(SETTLE)

    def _complain(self, text: str) -> None:
        """Once; then it is tried again in silence."""
        if text != self._complaint:
            self._complaint = text
            self._say("ERROR", f"{text}; without it `razar stop` does not find the mission (SIGTERM does)")
        self._look_in(RETRY)
