"""Processes of a supervisor that was killed: found with proof of identity, and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable

from razar.engine.recovery import Remains
from razar.launchers import procfs
from razar.launchers.descendants import FREEZE_ROUNDS, SECOND_LOOK, SECOND_LOOKS, WATCHED, send
from razar.launchers.reaper import NONCE

__all__ = ["GRACE", "find", "stop"]

COMPONENT = "RAZAR_COMPONENT"
#: Whom a process belongs to that was started for no component, such as the installation of a layer.
COMMAND = "a command of RAZAR"
#: Seconds between TERM and KILL.
GRACE = 10.0
#: Seconds that KILL may take.
KILL_TIME = 5.0


def find(remains: Remains) -> dict[str, list[procfs.Stat]]:
    """Return who is still there of earlier boots, with their descendants, by component.

    A process is one of them if its pid and start time are those that were written down, if it
    carries the nonce of an incarnation or of one of the boots, or if it descends from one that
    does. A pid alone proves nothing, and neither does an empty mark. Whatever the journal says,
    those that we descend from are none of them.
    """
    owners = {event.nonce: event.component for event in remains.spawned if event.nonce}
    identities = {
        (event.pid, event.start_time): event.component for event in remains.spawned if event.start_time > 0
    }
    boots = remains.boots - {""}
    if not identities and not boots:
        return {}
    roots: dict[str, list[int]] = {}
    spared = _ancestors()
    for pid in procfs.all_pids():
        entry = procfs.stat(pid)
        if entry is None or entry.ended or pid in spared:
            continue
        owner = identities.get((pid, entry.start_time))
        if owner is None:
            nonce = procfs.environment_value(pid, NONCE) or ""
            owner = owners.get(nonce)
            if owner is None and nonce.partition("-")[0] in boots:
                owner = procfs.environment_value(pid, COMPONENT) or COMMAND
        if owner is not None:
            roots.setdefault(owner, []).append(pid)
    return {component: list(procfs.tree(pids).values()) for component, pids in roots.items()}


def _ancestors() -> set[int]:
    """This process, its parent and so on, the first of the machine or container in any case."""
    found = {1}
    pid = os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        entry = procfs.stat(pid)
        pid = entry.ppid if entry is not None else 0
    return found


async def stop(processes: Iterable[procfs.Stat], grace: float = GRACE) -> list[procfs.Stat]:
    """TERM, then KILL what is still there after ``grace`` seconds; return who has withstood even that.

    What they have started meanwhile, even in answer to TERM, is killed with them.
    """
    # A tick earlier, for start times are rounded down.
    since = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) - 1
    first = [entry for entry in processes if _is_there(entry)]
    nonces = {nonce for entry in first if (nonce := procfs.environment_value(entry.pid, NONCE))}
    remaining = await _signal(first, signal.SIGTERM, grace)
    loop = asyncio.get_running_loop()
    until = loop.time() + KILL_TIME
    looks = 0
    while loop.time() < until:
        remaining, unclear = _frozen(remaining, nonces, since)
        if remaining:
            await _signal(remaining, signal.SIGKILL, until - loop.time())
        elif unclear and looks < SECOND_LOOKS:
            looks += 1
            await asyncio.sleep(SECOND_LOOK)
        else:
            break
    return remaining


def _frozen(known: Iterable[procfs.Stat], nonces: set[str], since: int) -> tuple[list[procfs.Stat], bool]:
    """Find who is there, and stop each so that none can run away by forking.

    Tell also whether there may be more: somebody born after ``since`` (clock ticks) in the middle of exec,
    where nobody has an environment.
    """
    stopped: dict[tuple[int, int], procfs.Stat] = {}
    roots = [entry.pid for entry in known if _is_there(entry)]
    found: list[procfs.Stat] = []
    unclear = False
    for _ in range(FREEZE_ROUNDS):
        marked, unclear = _marked(nonces, since)
        found = list(procfs.tree([*roots, *marked]).values())
        fresh = [entry for entry in found if (entry.pid, entry.start_time) not in stopped]
        if not fresh:
            break
        for entry in fresh:
            stopped[entry.pid, entry.start_time] = entry
            send(entry, signal.SIGSTOP)
    return found, unclear


def _marked(nonces: set[str], since: int) -> tuple[list[int], bool]:
    """Who carries one of the nonces, and whether of somebody it cannot be told yet."""
    spared = _ancestors()
    marked: list[int] = []
    unclear = False
    for pid in procfs.all_pids():
        data = procfs.environment(pid)
        if data is None or pid in spared:
            continue
        if procfs.value_in(data, NONCE) in nonces:
            marked.append(pid)
        elif not data:
            entry = procfs.stat(pid)
            unclear = unclear or (entry is not None and not entry.ended and entry.start_time >= since)
    return marked, unclear


def _open(entry: procfs.Stat) -> int | None:
    """Get hold of a process; its identity is checked again once it can no longer be replaced."""
    try:
        fd = os.pidfd_open(entry.pid)
    except ProcessLookupError:
        return None
    if not _is_there(entry):
        os.close(fd)
        return None
    return fd


def _is_there(entry: procfs.Stat) -> bool:
    now = procfs.stat(entry.pid)
    return now is not None and not now.ended and now.start_time == entry.start_time


async def _signal(
    processes: Iterable[procfs.Stat], number: signal.Signals, patience: float
) -> list[procfs.Stat]:
    """Signal everybody and wait for their ends; return those that are still there."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    asked = list(processes)
    for entry in asked:
        send(entry, number)
    # A few at a time: there may be more of them than descriptors.
    while remaining := [entry for entry in asked if _is_there(entry)]:
        if not await _ends(remaining[:WATCHED], until - loop.time()):
            return [entry for entry in remaining if _is_there(entry)]
    return []


async def _ends(processes: Iterable[procfs.Stat], patience: float) -> bool:
    """Wait until all of these have ended; False if they have not within so many seconds."""
    loop = asyncio.get_running_loop()
    watched = [fd for fd in map(_open, processes) if fd is not None]
    ends: list[asyncio.Future[None]] = []
    try:
        for fd in watched:
            ended: asyncio.Future[None] = loop.create_future()
            ends.append(ended)
            loop.add_reader(fd, _note, loop, fd, ended)
        if ends:
            await asyncio.wait(ends, timeout=max(0.0, patience))
    finally:
        for fd in watched:
            loop.remove_reader(fd)
            os.close(fd)
    return all(end.done() for end in ends)


def _note(loop: asyncio.AbstractEventLoop, fd: int, ended: asyncio.Future[None]) -> None:
    loop.remove_reader(fd)
    if not ended.done():
        ended.set_result(None)
