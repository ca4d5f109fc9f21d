"""Bytes of a file in, decoded JSON out; whatever stands in the way is a fault with its place."""

from __future__ import annotations

import os
import re
import stat
from typing import NoReturn

import msgspec

from razar.config.faults import ConfigurationError, Fault, printable

__all__ = ["MAX_BYTES", "MAX_DEPTH", "decode_json", "has_repeated_keys", "not_utf8", "read_bytes", "reject"]

#: Largest file that is read, in bytes: far above any mission, far below what would hurt.
MAX_BYTES = 8 * 1024 * 1024
#: Deepest nesting of lists and objects.
MAX_DEPTH = 64

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_KEY = re.compile(_STRING + rb"\s*:", re.DOTALL)
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_BARE = re.compile(_STRING + rb'|[^\s{}\[\],:"]+', re.DOTALL)


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
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                reject(path, "a folder", "a file")
            if not stat.S_ISREG(status.st_mode):
                reject(path, "a pipe, socket or device", "a regular file")
            if status.st_size <= limit:
                data = file.read(limit + 1)
                if len(data) <= limit:
                    return data
    except OSError as error:
        reject(path, f"an error while reading it ({error.strerror})", "a readable file")
    reject(path, f"a file of more than {limit} bytes", f"at most {limit} bytes")


def has_repeated_keys(data: bytes) -> bool:
    """Tell whether an object of a valid JSON text holds a key twice.

    Decoding keeps one value per key, so the keys of the text outnumber those of the values.
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
    return len(_KEY.findall(data)) != count


def not_utf8(data: bytes, error: UnicodeDecodeError, file: str) -> NoReturn:
    """Raise a fault at the first byte that is not UTF-8."""
    reject_at(data, error.start, file, f"the byte 0x{data[error.start]:02x}", "text in UTF-8")


def reject_at(
    data: bytes, offset: int, file: str, found: str, expected: str, hint: str | None = None
) -> NoReturn:
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


