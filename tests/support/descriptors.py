"""What a piece of work leaves open in this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["none_left_open", "open_descriptors"]


def open_descriptors() -> dict[int, str]:
    """Every open descriptor of this process, with what it leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # That of the listing itself.
    return found


@contextmanager
def none_left_open() -> Iterator[None]:
    """Fail if a descriptor was opened in here and is open at the end.

    Without the garbage collector's help: what only it would close is left open. What garbage of
    other tests holds, and may be collected meanwhile, does not count.
    """
    before = open_descriptors()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        left = {fd: target for fd, target in open_descriptors().items() if before.get(fd) != target}
    finally:
        if was_enabled:
            gc.enable()
    assert not left, f"left open: {left}"
