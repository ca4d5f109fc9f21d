"""A process with everything that descends from it: signalled together, gone only when all are gone."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
import weakref
from collections.abc import Callable

from razar.launchers import procfs, reaper

__all__ = ["FREEZE_ROUNDS", "SECOND_LOOK", "SECOND_LOOKS", "WATCHED", "Family", "kill_strays", "send"]

#: Attempts and seconds to freeze a family that keeps on forking before it is killed anyway.
FREEZE_ROUNDS = 100
FREEZE_TIME = 0.1
#: Seconds after which an orphan is looked at again whose environment could not be read.
SECOND_LOOK = 0.002
SECOND_LOOKS = 5
#: Members whose ends are waited for at once. The family is not gone before the last of them, so any
#: few will do, and a family of thousands takes no more descriptors than a small one.
WATCHED = 16
#: Members that are named when somebody asks who is still there.
NAMED = 20
#: Looks in a row that find everything still in motion, and the seconds of rest after them.
BURST = 10
REST = 0.01
#: Seconds after which somebody is looked for again when no descriptor was left to look with.
BLIND = 0.05


def _open(entry: procfs.Stat) -> int:
    """Open a pidfd for exactly the process that ``entry`` describes; raises OSError if it is gone."""
    pidfd = os.pidfd_open(entry.pid)
    try:
        # The descriptor is held while the identity is compared: it cannot change afterwards.
        now = procfs.stat(entry.pid)
        if now is None or now.start_time != entry.start_time:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    except OSError:
        os.close(pidfd)
        raise
    return pidfd


def send(entry: procfs.Stat, signum: int) -> bool:
    """Signal exactly the process that ``entry`` describes; False if it is gone or not ours to signal.

    Raises OSError if it cannot be told who that is.
    """
    try:
        reaper.with_spare(lambda: _send(entry, signum))
    except OSError as error:
        if procfs.cannot_look(error):
            raise
        return False
    return True


def _send(entry: procfs.Stat, signum: int) -> None:
    pidfd = _open(entry)
    try:
        signal.pidfd_send_signal(pidfd, signum)
    finally:
        os.close(pidfd)


class Family:
    """The descendants of one child.

    They are found by its process group and session, by the tree of parents below it, by having
    been seen there before, and by its nonce in their environment. Since orphans become our own
    children, one that shows none of these marks any more is at least not lost: see
    :func:`kill_strays`.

    ``on_gone`` is called once, with the status of the first process, when all have ended. If the
    first process ends without having been asked to, the others are killed (``sweep``) or left alone.
    """

    def __init__(
        self,
        child: reaper.Child,
        nonce: str,
        on_gone: Callable[[reaper.Status], None],
        *,
        sweep: bool = True,
    ) -> None:
        self.child = child
        self.nonce = nonce
        self.gone = False
        self._on_gone = on_gone
        self._sweep = sweep
        self._loop = asyncio.get_running_loop()
        self._asked: int | None = None
        self._signalled: set[tuple[int, int]] = set()
        self._known: dict[int, int] = {}
        self._watched: dict[int, int] = {}
        self._unclear = False
        self._settled = True
        self._missed = False
        self._looks = 0
        self._turns = 0
        self._checking: asyncio.Handle | None = None
        child.on_exit = self._first_ended
        _families.add(self)

    def members(self) -> dict[int, procfs.Stat]:
        """Find the processes that have not ended, by pid. Raises OSError if it cannot be told."""
        return {} if self.gone else reaper.with_spare(self._find)

    def _find(self) -> dict[int, procfs.Stat]:
        roots = [self.child.pid]
        self._unclear = False
        orphans, self._settled = reaper.look()
        for orphan in orphans:
            if self.owns(orphan):
                roots.append(orphan.stat.pid)
            elif orphan.nonce is None:
                self._unclear = True
        found = procfs.tree(roots)
        # One that has ended since it was listed may have left children that were not.
        self._settled = self._settled and all(pid in found for pid in roots[1:])
        self._known.update((pid, entry.start_time) for pid, entry in found.items())
        return found

    def owns(self, orphan: reaper.Orphan) -> bool:
        """Tell whether an orphan descends from our child."""
        entry = orphan.stat
        return (
            orphan.nonce == self.nonce
            or self.child.pid in (entry.session, entry.pgrp)
            or self._known.get(entry.pid) == entry.start_time
        )

    def signal(self, signum: int) -> None:
        """Send a signal to every member, once; later members get it when the first process has ended."""
        if signum == signal.SIGKILL:
            self.kill()
            return
        if self.gone or self._asked == signal.SIGKILL:
            return
        self._asked = signum
        self._signalled.clear()
        try:
            members = self.members()
        except OSError:
            members = {}
            self._miss()
        self.child.send_group(signum)
        self._pass_on(members, in_group=False)

    def kill(self) -> None:
        """KILL every member. They are stopped first, so that none can run away by forking."""
        if self.gone:
            return
        self._asked = signal.SIGKILL
        self._signalled.clear()
        if self.child.status is None:
            self.child.send_group(signal.SIGSTOP)
        try:
            members = self._freeze()
            self.child.send_group(signal.SIGKILL)
            for member in members.values():
                if member.pgrp != self.child.pid:
                    send(member, signal.SIGKILL)
        except OSError:
            self.child.send_group(signal.SIGKILL)
            self._miss()
        if self.child.status is not None:
            self._check_soon()

    def _freeze(self) -> dict[int, procfs.Stat]:
        """Stop every member outside of the first process's group; return all members."""
        frozen: set[tuple[int, int]] = set()
        until = time.monotonic() + FREEZE_TIME
        members: dict[int, procfs.Stat] = {}
        for _ in range(FREEZE_ROUNDS):
            members = self.members()
            fresh = [m for m in members.values() if (m.pid, m.start_time) not in frozen]
            outside = [m for m in fresh if m.pgrp != self.child.pid]
            frozen.update((m.pid, m.start_time) for m in fresh)
            for member in outside:
                send(member, signal.SIGSTOP)
            if not outside or time.monotonic() > until:
                break
        return members

    def holders(self) -> list[str]:
        """Name the members for people, at most NAMED of them."""
        try:
            members = sorted(self.members())
        except OSError:  # There are some, and more cannot be told now.
            return [f"pid {self.child.pid} (who else cannot be told: no file descriptor is left)"]
        names = [f"pid {pid} ({procfs.command(pid)})" for pid in members[:NAMED]]
        return names if len(members) <= NAMED else [*names, f"{len(members) - NAMED} more"]

    def _pass_on(self, members: dict[int, procfs.Stat], *, in_group: bool) -> None:
        assert self._asked is not None
        for member in members.values():
            key = (member.pid, member.start_time)
            if key in self._signalled:
                continue
            try:
                if in_group or member.pgrp != self.child.pid:
                    send(member, self._asked)
                if member.state == "T":
                    send(member, signal.SIGCONT)  # A stopped process would never hear of it.
            except OSError:
                self._miss()
                return
            self._signalled.add(key)

    def _miss(self) -> None:
        """Somebody has not got the signal because we could not look: try again soon."""
        self._missed = True
        self._check_later(BLIND)

    def _first_ended(self) -> None:
        if self._asked is None:
            if not self._sweep:
                _released.add(self.nonce)
                self._finish()
                return
            self._asked = signal.SIGKILL
        if self._asked == signal.SIGKILL:
            self.child.send_group(signal.SIGKILL)
        self._check()

    def _check_soon(self) -> None:
        if self._checking is None:
            self._checking = self._loop.call_soon(self._check)

    def _check_later(self, seconds: float) -> None:
        if self._checking is None:
            self._checking = self._loop.call_later(seconds, self._check)

    def _check_unsettled(self) -> None:
        """Look again at once while everybody is on the move, but do not let the others wait for it."""
        self._turns += 1
        if self._turns % BURST:
            self._check_soon()
        else:
            self._check_later(REST)

    def _check(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            self._checking = None
        if self.gone or (self.child.status is None and not self._missed):
            return
        try:
            members = self.members()
            self._missed = False
            if self.child.status is None:
                self._pass_on(members, in_group=False)
                return
            if members:
                self._look_after(members)
                return
        except OSError:
            self._miss()
            return
        if not self._settled:
            self._check_unsettled()
        elif self._unclear and self._looks < SECOND_LOOKS:
            self._looks += 1
            self._check_later(SECOND_LOOK)
        else:
            self._finish()

    def _look_after(self, members: dict[int, procfs.Stat]) -> None:
        """The first process has ended: have the others end as well, and wait for that."""
        self._looks = 0
        if self._asked == signal.SIGKILL:
            for member in members.values():
                send(member, signal.SIGKILL)
        else:
            self._pass_on(members, in_group=True)
        self._watch(members)

    def _watch(self, members: dict[int, procfs.Stat]) -> None:
        """Check again as soon as one of the first few has ended. Raises OSError if that is impossible."""
        for pid, member in members.items():
            if len(self._watched) >= WATCHED:
                return
            if pid in self._watched:
                continue
            try:
                pidfd = _open(member)
            except OSError as error:
                if not procfs.cannot_look(error):
                    self._check_unsettled()  # It has ended meanwhile.
                elif not self._watched:
                    raise
                continue
            self._watched[pid] = pidfd
            self._loop.add_reader(pidfd, self._member_ended, pid)

    def _member_ended(self, pid: int) -> None:
        self._unwatch(pid)
        self._check_soon()

    def _unwatch(self, pid: int) -> None:
        pidfd = self._watched.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)

    def _finish(self) -> None:
        self.gone = True
        for pid in list(self._watched):
            self._unwatch(pid)
        self._known.clear()
        self._on_gone(self.child.reap())


_families: weakref.WeakSet[Family] = weakref.WeakSet()
#: Nonces of commands that were allowed to leave processes behind.
_released: set[str] = set()
_suspects: set[tuple[int, int]] = set()


def kill_strays() -> tuple[list[str], bool]:
    """KILL the orphans that belong to no family; return names, and whether to look again.

    A process gets here only if it cleared its environment, left its session and lost its parent
    before anybody looked. In the middle of exec every process looks like that, so it must be seen
    twice. Raises OSError if it cannot be told who is there.
    """
    global _suspects
    families = [family for family in _families if not family.gone]
    names = []
    before, _suspects = _suspects, set()
    for orphan in reaper.adopted():
        entry = orphan.stat
        if orphan.nonce in _released or any(family.owns(orphan) for family in families):
            continue
        _suspects.add((entry.pid, entry.start_time))
        if (entry.pid, entry.start_time) in before:
            names.append(f"pid {entry.pid} ({procfs.command(entry.pid)})")
            send(entry, signal.SIGKILL)
    return names, bool(_suspects)
