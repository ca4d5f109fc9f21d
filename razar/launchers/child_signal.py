"""Notices that some child has ended, without being woken by each of thousands."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["PAUSE", "ChildSignal"]

#: Seconds between the end of a child and the look at all that have ended; orphans that end meanwhile wait for it.
PAUSE = 1.0


class ChildSignal:
    """Calls ``look`` a while after a child has ended, once for all that end until then.

    SIGCHLD is listened to for the first of them only. Whoever waits for a certain child watches its
    pidfd and hears of its end at once; this is for orphans, whose remains take up pids.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._listening = False

    def start(self) -> None:
        """Begin to listen, if that is not so already. Only the main thread can."""
        if not self._listening and threading.current_thread() is threading.main_thread():
            self._listening = True
            self._listen()

    def close(self) -> None:
        """Listen no longer."""
        if self._listening:
            self._listening = False
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _listen(self) -> None:
        signal.signal(signal.SIGCHLD, self._ended)
        signal.siginterrupt(signal.SIGCHLD, False)  # No system call of another thread is cut short.

    def _ended(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wait)

    def _wait(self) -> None:
        if self._listening and self._timer is None:
            self._timer = self._loop.call_later(PAUSE, self._due)

    def _due(self) -> None:
        self._timer = None
        self._listen()  # First: who ends during the look is told of again.
        self._look()
