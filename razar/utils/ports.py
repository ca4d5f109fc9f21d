"""Who listens on a TCP port of this machine, as far as this user may know."""

from __future__ import annotations

import os

__all__ = ["holder"]

_LISTEN = "0A"
#: Longest command line shown, in characters.
_WIDTH = 120


def holder(port: int) -> str | None:
    """Name the process that listens on a port, as ``pid 4711 (nginx -g …)``; None if none does.

    Of another user's process only the uid can be seen. Reads ``/proc/net/tcp`` (proc(5)) and the
    descriptors of every visible process: some milliseconds, so only for the message of an error.
    """
    owners = _listening(port)
    return _name(owners) if owners else None


def _listening(port: int) -> dict[str, int]:
    """Find the listening sockets of a port: inode -> uid."""
    found: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port:
                found[row[9]] = int(row[7])
    return found


def _name(owners: dict[str, int]) -> str:
    links = {f"socket:[{inode}]" for inode in owners}
    for pid in filter(str.isdigit, _entries("/proc")):
        for fd in _entries(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") in links:
                    return f"pid {pid} ({_command(pid)})"
            except OSError:
                continue
    return f"a process of the user with uid {min(owners.values())}, which is not ours to see"


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _command(pid: str) -> str:
    """The command line without credentials."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).decode(errors="replace").split("\0")
    except OSError:
        return "ended"
    from razar.utils.redaction import one_line

    return one_line(" ".join(words).strip(), _WIDTH)
