"""One supervisor for one mission folder: an advisory lock that dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

__all__ = ["AlreadyRunningError", "MissionLock", "open_lock"]


class AlreadyRunningError(Exception):
    """Another supervisor holds the lock; ``pid`` is its process id, None if it could not be read."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"another supervisor (pid {pid or 'unknown'}) already runs this mission")
        self.pid = pid


class MissionLock:
    """Holds ``razar.lock`` in the logs folder. The kernel releases it however the holder ends.

    The file stays when the lock is released: removing it would let two supervisors lock two
    files of the same name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        #: Whether the last holder ended without giving the lock back: it was killed.
        self.unclean = False

    def acquire(self) -> None:
        """Take the lock; raise AlreadyRunningError if somebody has it, OSError if it cannot be made."""
        fd = open_lock(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                raise AlreadyRunningError(_pid_in(fd)) from None
            finally:
                os.close(fd)
        self.unclean = os.fstat(fd).st_size > 0
        data = f"{os.getpid()}\n".encode()
        try:
            # Before the old text goes: on a full disk it must still tell that its holder was killed.
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        except OSError:
            os.close(fd)
            raise
        self._fd = fd

    def release(self, *, clean: bool = True) -> None:
        """Give the lock back; if the end was not ``clean`` the next holder is told so."""
        if self._fd is not None:
            if clean:
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    @staticmethod
    def holder(path: str) -> int | None:
        """Return the pid that holds the lock, 0 if it is unreadable, None if nobody does."""
        try:
            fd = open_lock(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid_in(fd) or 0
        else:
            return None
        finally:
            os.close(fd)


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


def _pid_in(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
