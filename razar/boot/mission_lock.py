"""One supervisor for one mission folder: an advisory lock that dies with its holder.

``razar.lock`` holds the pid in its first line, and in each further one ``boot ID MACHINE``: the boot
of the holder first, then earlier ones that were killed and whose processes nobody has stopped yet.
It is written in place: also on a full disk it tells by what those processes can be recognised.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress

from razar.boot import mission_name

__all__ = ["AlreadyRunningError", "BusyError", "MissionLock", "open_lock", "pid_in", "unfinished_boots"]

#: Seconds for which commands that keep the mission from being booted are waited for: a little longer than
#: `razar stop` takes for what a killed supervisor has left.
PATIENCE = 20.0
#: Earlier boots that are remembered; the newest, within the one block that the file has.
REMEMBERED = 60
_STEP = 0.02
_LIMIT = 8192


class AlreadyRunningError(Exception):
    """Another supervisor holds the lock; ``pid`` is its process id, None if it could not be read."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"another supervisor (pid {pid or 'unknown'}) already runs this mission")
        self.pid = pid


class BusyError(Exception):
    """A command that must not be disturbed by a boot is still at work."""


class MissionLock:
    """Holds ``razar.lock`` in the logs folder. The kernel releases it however the holder ends.

    The file stays when the lock is released: removing it would let two supervisors lock two
    files of the same name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        #: Every file that has been the lock, the present one last: one that was moved away stays locked.
        self._fds: list[int] = []
        self._boots: list[tuple[str, str]] = []
        #: Whether the last holder ended without giving the lock back: it was killed.
        self.unclean = False
        #: Asked by whoever looks for a holder, see ``mission_name``; None if there is no such thing here.
        self.name: socket.socket | None = None

    def acquire(
        self,
        boot_id: str = "",
        machine: str = "",
        *,
        patience: float = PATIENCE,
        on_wait: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the lock for a boot on this run of the machine.

        ``on_wait`` is called if a command has to be waited for. Raises AlreadyRunningError if a
        supervisor has the lock, BusyError if a command still has it after ``patience`` seconds,
        OSError if it cannot be made.
        """
        fd = open_lock(self._path, os.O_RDWR | os.O_CREAT)
        try:
            try:
                _lock(fd, patience, on_wait)
                self.name = mission_name.take(os.path.dirname(self._path))
            except AlreadyRunningError as error:  # Who has the file may have been refused, too.
                raise AlreadyRunningError(
                    error.pid or mission_name.holder(os.path.dirname(self._path))
                ) from None
            except mission_name.TakenError as error:
                raise AlreadyRunningError(error.pid or None) from None
            self.unclean = os.fstat(fd).st_size > 0
            earlier = [boot for boot in _boots_in(fd) if boot[1] == machine]
            self._boots = [(boot_id, machine), *earlier[:REMEMBERED]]
            self._write(fd)
        except BaseException:
            self._let_go_of_name()
            os.close(fd)
            raise
        self._fds.append(fd)

    @property
    def earlier(self) -> frozenset[str]:
        """The ids of boots of this run of the machine that were killed, and may have left processes."""
        return frozenset(id for id, _ in self._boots[1:])

    def forget_earlier(self) -> None:
        """What earlier boots have left is stopped."""
        if self.earlier:
            del self._boots[1:]
            with suppress(OSError):  # Then it is looked for once more.
                self._write(self._fds[-1])

    def is_there(self) -> bool:
        """Whether the lock's file is where it should be, and is one of ours."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        for fd in self._fds:
            if os.path.samestat(os.fstat(fd), there):
                self._fds.remove(fd)
                self._fds.append(fd)
                return True
        return False

    def restore(self) -> bool:
        """Make the file anew if it was moved or removed; return whether that was needed.

        Raises OSError if that is impossible, AlreadyRunningError if somebody else holds what is
        there instead.
        """
        if self.is_there():
            return False
        os.makedirs(os.path.dirname(self._path), mode=0o750, exist_ok=True)
        fd = open_lock(self._path, os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunningError(pid_in(fd)) from None
            self._write(fd)
        except BaseException:
            os.close(fd)
            raise
        for gone in [old for old in self._fds if os.fstat(old).st_nlink == 0]:
            self._fds.remove(gone)
            os.close(gone)
        self._fds.append(fd)
        return True

    def release(self, *, clean: bool = True) -> None:
        """Give the lock back; if the end was not ``clean`` the next holder is told so."""
        for fd in self._fds:
            if clean:
                os.ftruncate(fd, 0)
            os.close(fd)
        self._fds.clear()
        self._let_go_of_name()

    @staticmethod
    def holder(path: str) -> int | None:
        """Return the pid that holds the lock, 0 if it is unreadable, None if nobody does."""
        try:
            fd = open_lock(path, os.O_RDONLY)
        except FileNotFoundError:
            return mission_name.holder(os.path.dirname(path))
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return pid_in(fd) or 0
        else:
            return mission_name.holder(os.path.dirname(path))
        finally:
            os.close(fd)

    def _write(self, fd: int) -> None:
        lines = [f"{os.getpid()}\n", *(f"boot {id} {machine}\n" for id, machine in self._boots if id)]
        data = "".join(lines).encode()
        # Before the old text goes: on a full disk it must still tell that its holder was killed.
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))

    def _let_go_of_name(self) -> None:
        if self.name is not None:
            self.name.close()
            self.name = None


def open_lock(path: str, flags: int) -> int:
    """Open the file of a lock; raise OSError if that is anything but a regular file."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
    except IsADirectoryError:
        raise OSError(errno.EISDIR, f"{path} is a folder; move it away") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{path} is no regular file; move it away")
    return fd


def pid_in(fd: int) -> int | None:
    """The pid that a lock's file names."""
    text = os.pread(fd, 32, 0).partition(b"\n")[0].strip()
    return int(text) if text.isdigit() else None


def unfinished_boots(path: str, machine: str) -> frozenset[str]:
    """The ids of boots of this run of the machine that a lock's file names: they were killed, if nobody holds it.

    Empty if there is no such file. Raises OSError if it cannot be read.
    """
    try:
        fd = open_lock(path, os.O_RDONLY)
    except FileNotFoundError:
        return frozenset()
    try:
        return frozenset(id for id, run in _boots_in(fd) if run == machine)
    finally:
        os.close(fd)


def _lock(fd: int, patience: float, on_wait: Callable[[], object]) -> None:
    """Lock a file against everybody; wait for those who hold it together with others: they are commands."""
    until = time.monotonic() + patience
    waiting = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(pid_in(fd)) from None
        fcntl.flock(fd, fcntl.LOCK_UN)
        if time.monotonic() >= until:
            raise BusyError
        if not waiting:
            waiting = True
            on_wait()
        time.sleep(_STEP)


def _boots_in(fd: int) -> list[tuple[str, str]]:
    """The boots that a lock's file names, with the run of the machine of each."""
    found = []
    for line in os.pread(fd, _LIMIT, 0).decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        if len(words) == 3 and words[0] == "boot":
            found.append((words[1], words[2]))
    return found
