"""What an environment was built for: the interpreter's identity and the platform."""

from __future__ import annotations

import os

from msgspec import Struct

__all__ = ["Interpreter", "identify", "is_same", "platform_tag"]


class Interpreter(Struct, frozen=True):
    """The identity of an interpreter's executable: real path, size (bytes), modification time (ns)."""

    path: str
    size: int
    modified: int


def platform_tag() -> str:
    """Name what compiled packages depend on: system, machine and C library."""
    system = os.uname()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        libc = ""
    return f"{system.sysname} {system.machine} {libc or 'other libc'}"


def identify(path: str) -> Interpreter:
    """Return the identity of an interpreter's executable; raise OSError if it is not there."""
    real = os.path.realpath(path)
    found = os.stat(real)
    return Interpreter(real, found.st_size, found.st_mtime_ns)


def is_same(interpreter: Interpreter) -> bool:
    """Tell whether the executable is the one it was."""
    try:
        found = os.stat(interpreter.path)
    except OSError:
        return False
    return found.st_size == interpreter.size and found.st_mtime_ns == interpreter.modified
