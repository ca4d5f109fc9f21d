"""The journal and a disk that stalls, or a moment without descriptors: nothing piles up, nothing is forgotten."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from razar import mission_logger
from razar.boot import journal_sync
from razar.boot.journal_sync import JournalSync
from razar.engine import events
from razar.mission_logger import Journal
from tests.support.waiting import until


async def test_on_a_disk_that_stalls_one_sync_waits_and_one_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []
    fsync = mission_logger._fsync

    def stalled(fd: int) -> str | None:
        begun.append(fd)
        go_on.wait(10)
        return fsync(fd)

    monkeypatch.setattr(mission_logger, "_fsync", stalled)
    monkeypatch.setattr(journal_sync, "SYNC_AFTER", 0)
    journal = Journal(str(tmp_path / "journal"))
    sync = JournalSync(journal)
    try:
        for number in range(100):
            journal.append(events.OperatorStopped(f"c{number}"), 1.0)
            sync.due()
            await asyncio.sleep(0)
            if number == 50:
                await until(lambda: begun)
        assert len(begun) == 1
    finally:
        go_on.set()
    await until(lambda: len(begun) == 2 and sync._task is None)
    assert sync._timer is None and not journal._dirty
    sync.close()
    journal.close()
    assert len(begun) == 2


async def test_what_could_not_be_synced_without_descriptors_is_synced_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    told: list[str] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal = Journal(str(tmp_path / "journal"), report=told.append)
    journal.append(events.OperatorStopped("a"), 1.0)

    def refuse() -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as none_left:
        none_left.setattr(journal._file, "duplicate", refuse)
        await journal.sync()
    assert synced == [] and "could not be brought to the disk: Too many open files" in told[0]
    await journal.sync()
    assert len(synced) == 1
    journal.close()
