"""Where the control socket is, and how one is reached whose path is longer than an address may be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ANSWER_LIMIT", "LOCK_NAME", "REQUEST_LIMIT", "SOCKET_NAME", "address"]

SOCKET_NAME = "razar.sock"
LOCK_NAME = "razar.lock"
#: Longest request, in bytes with its newline: a few thousand component ids.
REQUEST_LIMIT = 256 * 1024
#: Longest line of an answer, in bytes: a status of a hundred thousand components.
ANSWER_LIMIT = 64 * 1024 * 1024
#: ``sun_path`` has 108 bytes and ends in a zero byte (unix(7)).
_LONGEST_ADDRESS = 107


@contextmanager
def address(path: str) -> Iterator[str]:
    """Give an address that leads to ``path`` as long as the context lasts.

    A path that is too long is reached through a descriptor of its folder. Raises OSError if
    there is no such folder.
    """
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield path
        return
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
