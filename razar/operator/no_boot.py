"""Keeps a mission that does not run from being booted while something of it is changed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from razar.boot import mission_name
from razar.boot.mission_lock import AlreadyRunningError, open_lock, pid_in
from razar.control.address import LOCK_NAME

__all__ = ["no_boot"]


@contextmanager
def no_boot(logs: str) -> Iterator[None]:
    """Hold the mission's lock together with others like us, so that no supervisor can take it.

    The file is left as it is: its content tells the next boot whether the last one was killed.
    Raises AlreadyRunningError, or OSError if the file cannot be opened.
    """
    fd = open_lock(os.path.join(logs, LOCK_NAME), os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(pid_in(fd)) from None
        pid = mission_name.holder(logs)
        if pid is not None:  # Its logs folder was taken away.
            raise AlreadyRunningError(pid or None)
        yield
    finally:
        os.close(fd)
