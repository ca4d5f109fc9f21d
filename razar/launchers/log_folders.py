"""The folders of the logs, made ahead of the launches."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

__all__ = ["make_ready"]

#: Makes folders with mode 0750 or a stricter one, and in each a log with mode 0640 where nothing of that name is.
_MAKE = 'umask g-w,o=; mkdir -p -- "$@"; umask 027; for d do [ -e "$d/current.log" ] || : >>"$d/current.log"; done'


def make_ready(paths: Iterable[str]) -> None:
    """Make folders and empty logs ahead of the launches; a launch makes what this could not.

    The two take from a tenth of a millisecond to more than one. A shell makes them on another
    processor while the rest of RAZAR is being imported; a thread of ours would have to take turns
    with the imports, and hold them up more than it saves.
    """
    command = ["sh", "-c", _MAKE, "sh", *map(os.path.dirname, paths)]
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            streams = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
            pid = os.posix_spawn("/bin/sh", command, os.environ, file_actions=streams)
        finally:
            os.close(null)
    except OSError:
        return
    # It is in our session, so nobody else waits for it.
    threading.Thread(target=_wait_for, args=(pid,), daemon=True).start()


def _wait_for(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # Whoever started us has SIGCHLD ignored.
