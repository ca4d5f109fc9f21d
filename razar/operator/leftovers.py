"""What a supervisor that was killed has left running, by proof of the journal and of its lock."""

from __future__ import annotations

import os

from razar.boot.mission_lock import unfinished_boots
from razar.control.address import LOCK_NAME
from razar.engine.recovery import remains
from razar.launchers import leftovers, procfs
from razar.operator.journal import read_all
from razar.operator.mission import JOURNAL_NAME

__all__ = ["describe_leftovers", "find_leftovers", "stop_leftovers"]

Leftovers = dict[str, list[procfs.Stat]]


def find_leftovers(logs: str) -> Leftovers:
    """Find the processes of components whose end nobody has seen, by component.

    Only to be asked when no supervisor runs the mission.
    """
    records, _ = read_all(os.path.join(logs, JOURNAL_NAME))
    machine = procfs.machine_run()
    try:
        boots = unfinished_boots(os.path.join(logs, LOCK_NAME), machine)
    except OSError:
        boots = frozenset()  # What the journal knows is found all the same.
    tape = [record.event for record in records if record.event is not None]
    return leftovers.find(remains(tape, machine, boots))


def describe_leftovers(found: Leftovers) -> str:
    """Name the processes, for people."""
    words = []
    for component, processes in found.items():
        named = ", ".join(f"pid {process.pid}: {procfs.command(process.pid)}" for process in processes)
        words.append(f"{component} ({named})")
    return "; ".join(words)


def stop_leftovers(found: Leftovers) -> list[procfs.Stat]:
    """Stop them: TERM, and KILL after ten seconds; return who has withstood even that."""
    import asyncio

    return asyncio.run(leftovers.stop(process for processes in found.values() for process in processes))
