"""Reads a whole file within limits; whatever stands in the way is a fault with its place."""

from __future__ import annotations

import os
import re
import stat
from typing import NoReturn

import msgspec

from razar.config.faults import ConfigurationError, Fault

__all__ = ["MAX_BYTES", "MAX_DEPTH", "has_repeated_keys", "not_utf8", "read_bytes", "reject", "reject_at"]

#: Largest file that is read, in bytes: far above any mission, far below what would hurt.
MAX_BYTES = 8 * 1024 * 1024
#: Deepest nesting of lists and objects.
MAX_DEPTH = 64


def reject(file: str, found: str, expected: str, hint: str | None = None) -> NoReturn:
    """Raise a fault that concerns a whole file."""
    raise ConfigurationError([Fault(file=file, found=found, expected=expected, hint=hint)]) from None


def read_bytes(path: str, *, limit: int = MAX_BYTES) -> bytes:
    """Read a whole regular file of at most ``limit`` bytes; raise ConfigurationError if it cannot be."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        reject(path, "no such file", "a file that exists")
    except PermissionError:
        reject(path, "a file that may not be read", "a readable file", "check its permissions")
    except ValueError:
        reject(path, "a path with a NUL character", "a path")
    except OSError as error:
        reject(path, f"an error while opening it ({error.strerror})", "a readable file")
    try:
        return _read(descriptor, path, limit)
    except OSError as error:
        reject(path, f"an error while reading it ({error.strerror})", "a readable file")
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str, limit: int) -> bytes:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        reject(path, "a folder", "a file")
    if not stat.S_ISREG(status.st_mode):
        reject(path, "a pipe, socket or device", "a regular file")
    data = b""
    if status.st_size <= limit:
        while (chunk := os.read(descriptor, 1 << 18)) and len(data) <= limit:
            data += chunk
        if len(data) <= limit:
            return data
    reject(path, f"a file of more than {limit} bytes", f"at most {limit} bytes")


def has_repeated_keys(data: bytes) -> bool:
    """Tell whether an object of a valid JSON text holds a key twice; its depth must be known to be bounded.

    Decoding keeps one value per key: then the colons of the text outnumber the keys of the values.
    """
    count = 0
    pending = [msgspec.json.decode(data)]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            count += len(value)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    if b"\\" in data:
        data = re.sub(rb"\\.", b"", data, flags=re.DOTALL)
    # Without escapes every other piece between quotes is outside of the texts.
    return b"".join(data.split(b'"')[::2]).count(b":") != count


def not_utf8(data: bytes, error: UnicodeDecodeError, file: str) -> NoReturn:
    """Raise a fault at the first byte that is not UTF-8."""
    reject_at(data, error.start, file, f"the byte 0x{data[error.start]:02x}", "text in UTF-8")


def reject_at(
    data: bytes, offset: int, file: str, found: str, expected: str, hint: str | None = None
) -> NoReturn:
    """Raise a fault at a byte of a file."""
    start = data.rfind(b"\n", 0, offset) + 1
    fault = Fault(
        file=file,
        line=data.count(b"\n", 0, offset) + 1,
        column=len(data[start:offset].decode(errors="replace")) + 1,
        found=found,
        expected=expected,
        hint=hint,
    )
    raise ConfigurationError([fault]) from None
