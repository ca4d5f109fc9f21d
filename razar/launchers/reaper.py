"""The process table: starts children, notices their ends, and is the only one to reap them.

RAZAR is a child subreaper: a descendant whose own parent has ended becomes our child, so that
whatever a component leaves behind stays within reach. Nothing else in the process may wait for a
child that runs in a session of its own; ordinary children of libraries, which share our session,
are left alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from razar.launchers import descriptors, procfs

__all__ = ["NONCE", "Child", "Orphan", "Status", "adopted", "look", "prepare", "spawn", "with_spare"]

#: The variable by which a descendant is recognised.
NONCE = "RAZAR_NONCE"
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

T = TypeVar("T")


class Status(NamedTuple):
    """How a process ended; both None if somebody else has taken the status."""

    code: int | None
    signal: str | None


class Orphan(NamedTuple):
    """A process that became our child because its parent ended, and the nonce it carries."""

    stat: procfs.Stat
    nonce: str | None


class Child:
    """A process we started, leader of a session and group of its own.

    Until :meth:`reap` the kernel reserves its pid, and with it the ids of its group and session,
    even after it has ended. Signals can therefore never reach a stranger.
    """

    def __init__(self, pid: int, pidfd: int, loop: asyncio.AbstractEventLoop) -> None:
        entry = procfs.stat(pid)
        self.pid = pid
        self.start_time = entry.start_time if entry else 0
        self.status: Status | None = None
        self.on_exit: Callable[[], None] | None = None
        self._pidfd = pidfd
        self._loop = loop

    @property
    def reaped(self) -> bool:
        """Whether the pid has been given back to the kernel."""
        return self._pidfd < 0

    def send_group(self, signum: int) -> None:
        """Signal the whole process group at once; nothing in it can escape by forking."""
        if not self.reaped:
            try:
                os.killpg(self.pid, signum)
            except (ProcessLookupError, PermissionError):
                pass  # A program that changed its user: there is nobody else we could ask.

    def reap(self) -> Status:
        """Give the pid back; returns how the process ended. Only after ``status`` is set."""
        assert self.status is not None, "reaped while it runs"
        if not self.reaped:
            try:
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                pass
            os.close(self._pidfd)
            self._pidfd = -1
            descriptors.reserve(_devnull)
            _children.pop(self.pid, None)
        return self.status

    def _readable(self) -> None:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            info = os.waitid(os.P_PIDFD, self._pidfd, flags)
        except ChildProcessError:
            self.status = Status(None, None)
        else:
            if info is None:
                return
            if info.si_code == os.CLD_EXITED:
                self.status = Status(info.si_status, None)
            else:
                self.status = Status(None, signal_name(info.si_status))
        self._loop.remove_reader(self._pidfd)
        if self.on_exit is None:
            self.reap()
        else:
            self.on_exit()


_children: dict[int, Child] = {}
_loop: asyncio.AbstractEventLoop | None = None
_orphans: dict[int, Orphan] = {}
_subreaper = 0
_devnull = -1


def signal_name(signum: int) -> str:
    """Name a signal without ``SIG``; real-time signals have only numbers."""
    try:
        return signal.Signals(signum).name.removeprefix("SIG")
    except ValueError:
        return str(signum)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def prepare() -> None:
    """Become a subreaper.

    :func:`spawn` does it by itself; calling it earlier takes 3 ms out of the first ignition.
    """
    global _subreaper, _devnull
    if _subreaper == os.getpid():
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot become a child subreaper: {os.strerror(code)}")
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN and _in_main_thread():
        # Inherited from whoever started us: the kernel would throw every exit status away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _devnull = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    descriptors.reserve(_devnull)
    _subreaper = os.getpid()


def spawn(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Child:
    """Start a program as leader of its own session; no shell, every other descriptor closed.

    A stream that is None is /dev/null. Raises OSError or ValueError if there is no process
    (``processes.explain`` makes a sentence of it).
    """
    prepare()
    loop = asyncio.get_running_loop()
    if loop is not _loop:
        _forsake(loop)
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=_devnull if stdin is None else stdin,
        stdout=_devnull if stdout is None else stdout,
        stderr=_devnull if stderr is None else stderr,
        start_new_session=True,
    )
    pid = process.pid
    descriptors.give_back(pid)
    process.returncode = 0  # The status is ours to take: the object must never wait, nor warn.
    pidfd = -1
    try:
        pidfd = os.pidfd_open(pid)
        child = Child(pid, pidfd, loop)
    except OSError:
        os.kill(pid, signal.SIGKILL)  # Not reaped, so it is still ours.
        os.waitid(os.P_PID, pid, os.WEXITED)
        if pidfd >= 0:
            os.close(pidfd)
        raise
    _children[pid] = child
    loop.add_reader(pidfd, child._readable)
    return child


def adopted() -> list[Orphan]:
    """Reap the orphans that have ended; return the others. Raises OSError if it cannot look.

    Whoever waits for an orphan watches it; all others can wait for the next call, which is a second
    after the first of them has ended (``child_signal``).
    """
    return look()[0]


def look() -> tuple[list[Orphan], bool]:
    """Do what :func:`adopted` does; tell also whether all of it is still so.

    It is not if one was found to have ended: its children may have become ours after the list was
    read. The kernel appends to that list and only we take from it, so nothing else is ever missed.
    Raises OSError if it cannot be told who is there.
    """
    global _orphans
    own_session = os.getsid(0)
    found: dict[int, Orphan] = {}
    settled = True
    for pid in set(procfs.children(os.getpid())) - _children.keys():
        entry = procfs.stat(pid)
        if entry is None or entry.session == own_session:
            continue
        if entry.ended:
            settled = False
            try:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                pass
            continue
        seen = _orphans.get(pid)
        nonce = seen.nonce if seen is not None and seen.stat.start_time == entry.start_time else None
        found[pid] = Orphan(entry, nonce or procfs.environment_value(pid, NONCE))
    _orphans = found
    return list(found.values()), settled


def with_spare(look: Callable[[], T]) -> T:
    """Call ``look``; once more with the descriptors kept for it if that cannot be done otherwise."""
    try:
        return look()
    except OSError as error:
        if _subreaper != os.getpid() or not procfs.cannot_look(error):
            raise
    with descriptors.spare(_devnull):
        return look()


def _forsake(loop: asyncio.AbstractEventLoop) -> None:
    """Give up the children of a loop that is closed: nobody listens, they are reaped as orphans."""
    global _loop
    _loop = loop
    for child in list(_children.values()):
        if child._loop.is_closed():
            os.close(child._pidfd)
            child._pidfd = -1
            del _children[child.pid]
