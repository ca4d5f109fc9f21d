"""When the journal is brought to the disk: soon after an event, and never twice at the same time."""

from __future__ import annotations

import asyncio

from razar.mission_logger import Journal

__all__ = ["SYNC_AFTER", "JournalSync"]

#: Seconds after a journalled event within which it is brought to the disk, together with others.
SYNC_AFTER = 0.25


class JournalSync:
    """One fsync at a time: on a disk that stalls they would pile up, each with a thread and a descriptor."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def due(self) -> None:
        """Something was written to the journal."""
        if self._task is not None:
            self._again = True
        elif self._timer is None:
            self._timer = self._loop.call_later(SYNC_AFTER, self._begin)

    def close(self) -> None:
        """Begin no more; the journal syncs what is left when it is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._journal.sync())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if self._again and not task.cancelled():
            self._again = False
            self.due()
