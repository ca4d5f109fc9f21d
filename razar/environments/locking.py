"""One builder at a time for a layer, also where two RAZARs share a mission folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

__all__ = ["layer_lock"]

#: Seconds between two looks at a lock that another process holds: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.005, 0.1


@asynccontextmanager
async def layer_lock(folder: str, on_wait: Callable[[str], None]) -> AsyncIterator[bool]:
    """Hold the lock of a layer's folder; yields whether it had to be waited for.

    ``on_wait`` is told once who holds it. The kernel releases the lock of a process that died.
    A blocking flock(2) in a thread could not be cancelled, so the lock is asked for again and again.
    """
    descriptor = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        wait = FIRST_WAIT
        waited = False
        while not _try(descriptor):
            if not waited:
                waited = True
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                on_wait(f"process {holder}" if holder else "another process")
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, LONGEST_WAIT)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield waited
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
