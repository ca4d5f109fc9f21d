"""Who listens on a TCP port of this machine, as far as this user may know."""

from __future__ import annotations

import os

__all__ = ["holder"]

_LISTEN = "0A"


def holder(port: int) -> str | None:
    """``pid 4711 (nginx)`` of the process that listens on a port; None if none does or may be seen.

    Reads ``/proc/net/tcp`` (proc(5)) and the descriptors of every visible process: some
    milliseconds, so only for the message of an error.
    """
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    if not inodes:
        return None
    for pid in filter(str.isdigit, _entries("/proc")):
        for fd in _entries(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    return f"pid {pid} ({_command(pid)})"
            except OSError:
                continue
    return None


def _listening(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        found.update(
            row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port
        )
    return found


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
