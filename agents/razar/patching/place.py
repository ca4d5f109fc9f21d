"""Where the copy of a tree lies while a patch is tried: in memory where there is room, else beside its journal.

To make thousands of files takes seconds on some disks, and a tenth of one in memory.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from agents.razar.patching import journal, scratch

__all__ = ["choose", "free", "remove", "taken"]

MEMORY = "/dev/shm"
#: Bytes of a copy, at most, for each of which so many have to be free in memory.
MARGIN = 4


def choose(logs: str, id: str, limits: scratch.Limits) -> str:
    """Make the folder for the copies of a transaction, readable by us alone; return its path."""
    beside = os.path.join(journal.folder_of(logs, id), "work")
    os.makedirs(beside, mode=0o700, exist_ok=True)
    if min(free(MEMORY), _available()) < MARGIN * limits.total_bytes:
        return beside
    path = _in_memory(id)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        # The id holds chance, so nobody else can have known the name; it is looked at all the same.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return beside
    except OSError:
        return beside
    return path


def remove(logs: str, id: str) -> None:
    """Remove all copies of a transaction, wherever they are."""
    for path in (os.path.join(journal.folder_of(logs, id), "work"), _in_memory(id)):
        try:
            ours = os.lstat(path).st_uid == os.geteuid()
        except OSError:
            continue
        if ours:
            scratch.remove(path)


def free(path: str) -> int:
    """Bytes that can still be written to the file system of a path; 0 if there is none."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def taken(folder: str) -> int:
    """Bytes that the files in a folder take of their file system, as far as they can be seen."""
    total, folders = 0, [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # It went while it was looked at.
                    found = entry.stat(follow_symlinks=False)
                    total += found.st_blocks * 512
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.path)
    return total


def _in_memory(id: str) -> str:
    return os.path.join(MEMORY, f"razar-{id}")


def _available() -> int:
    """Bytes of memory that programs can have without swapping; 0 if the kernel does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return 0
