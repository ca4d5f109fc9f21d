"""What the kernel says about a process in /proc: identity, family, environment, command.

A process that is gone, or not ours to see, is an answer. Not being able to look (no descriptor, no
memory is left) is none: then OSError is raised, for who took it for "gone" would start a second copy.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "Stat",
    "all_pids",
    "cannot_look",
    "children",
    "command",
    "environment",
    "environment_value",
    "machine_run",
    "read",
    "stat",
    "tree",
    "value_in",
]

#: Longest command line shown to people, in characters.
COMMAND_WIDTH = 120
#: What opening or reading says of a process that has ended meanwhile, or is another user's.
_NO_ANSWER = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM, errno.EIO})
#: False on a kernel without CONFIG_PROC_CHILDREN.
_HAS_CHILDREN_FILE = os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children")


class Stat(NamedTuple):
    """Some fields of /proc/PID/stat (proc(5)); ``start_time`` is in clock ticks since boot.

    A pid together with its start time identifies a process for as long as the machine runs.
    """

    pid: int
    comm: str
    state: str
    ppid: int
    pgrp: int
    session: int
    start_time: int
    threads: int

    @property
    def ended(self) -> bool:
        """Whether the process is a zombie or on its way out.

        The state is that of the first thread; a process lives on while it has another.
        """
        return self.state in "ZX" and self.threads < 2


def cannot_look(error: OSError) -> bool:
    """Whether an error is about us, who could not look, and not about the process."""
    return error.errno not in _NO_ANSWER


def read(path: str, limit: int = 1 << 20) -> bytes | None:
    """Read a file of /proc, at most ``limit`` bytes; None if the process is gone or not ours to see.

    Raises OSError if it cannot be told, like all functions here but :func:`command`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if cannot_look(error):
            raise
        return None
    try:
        data = block = os.read(fd, min(limit, 65536))
        while len(block) and len(data) < limit:
            block = os.read(fd, 65536)
            data += block
        return data[:limit]
    except OSError as error:
        if cannot_look(error):
            raise
        return None
    finally:
        os.close(fd)


def machine_run() -> str:
    """The kernel's id of this run of the machine: pids of another run mean nothing. Empty if not to be had."""
    try:
        return (read("/proc/sys/kernel/random/boot_id") or b"").decode("ascii", "replace").strip()
    except OSError:
        return ""


def stat(pid: int) -> Stat | None:
    """Read who a process is; None if there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if cannot_look(error):
            raise
        return None
    try:
        data = os.read(fd, 4096)  # One short line.
    except OSError as error:
        if cannot_look(error):
            raise
        return None
    finally:
        os.close(fd)
    # The name stands in parentheses and may itself hold spaces and parentheses.
    head, _, tail = data.rpartition(b")")
    fields = tail.split()
    if len(fields) < 20:
        return None
    return Stat(
        pid,
        head.partition(b"(")[2].decode(errors="replace"),
        chr(fields[0][0]),
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        int(fields[19]),
        int(fields[17]),
    )


def all_pids() -> list[int]:
    """List the processes that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid: int) -> list[int]:
    """List the direct children of a process, zombies included."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError as error:
        if cannot_look(error):
            raise
        return []
    found: list[int] = []
    for thread in threads:
        data = read(f"/proc/{pid}/task/{thread}/children")
        if data is None:
            if not _HAS_CHILDREN_FILE:
                return _children_by_scan(pid)
            continue  # The thread has ended; its children are with another thread now.
        found += map(int, data.split())
    return found


def _children_by_scan(pid: int) -> list[int]:
    """Look at every process there is: the slow way."""
    return [found.pid for candidate in all_pids() if (found := stat(candidate)) and found.ppid == pid]


def tree(roots: Iterable[int]) -> dict[int, Stat]:
    """Collect the given processes and all their descendants that have not ended."""
    found: dict[int, Stat] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        entry = stat(pid)
        if entry is None or entry.ended:
            continue
        found[pid] = entry
        waiting += children(pid)
    return found


def environment(pid: int) -> bytes | None:
    """Read the environment a process was started with: None if not to be had, empty in the middle of exec."""
    return read(f"/proc/{pid}/environ", 1 << 22)


def environment_value(pid: int, name: str) -> str | None:
    """Read one variable from the environment a process was started with; None if not to be had."""
    return value_in(environment(pid) or b"", name)


def value_in(data: bytes, name: str) -> str | None:
    """Find one variable in an environment as the kernel shows it."""
    prefix = name.encode() + b"="
    if data.startswith(prefix):
        start = 0
    else:
        start = data.find(b"\0" + prefix) + 1
        if start == 0:
            return None
    start += len(prefix)
    end = data.find(b"\0", start)
    return data[start : None if end < 0 else end].decode(errors="replace")


def command(pid: int) -> str:
    """Name a process for people: its command line, shortened, without credentials."""
    try:
        data = read(f"/proc/{pid}/cmdline", 4096)
        if data:
            text = " ".join(data.decode(errors="replace").split("\0")).strip()
        else:
            entry = stat(pid)
            text = entry.comm if entry else "ended"
    except OSError:
        return "its name cannot be read"
    from razar.utils.redaction import one_line

    return one_line(text, COMMAND_WIDTH)
