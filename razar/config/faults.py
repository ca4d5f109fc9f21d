"""Faults of a configuration: where, what was found, what was expected; never a secret."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

__all__ = ["ConfigurationError", "Fault", "Problem", "describe", "printable", "quote", "redact"]

#: Longest piece of a file that a message shows, in characters.
_SHOWN = 80
#: Faults written out as text; the JSON form always holds all of them.
_LISTED = 100


class Fault(Struct, frozen=True, kw_only=True):
    """One fault. ``line`` and ``column`` count from 1 (in characters); ``pointer`` is a JSON pointer.

    Both numbers are None where the fault has no place inside the file.
    """

    file: str
    found: str
    expected: str
    line: int | None = None
    column: int | None = None
    pointer: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        place = printable(self.file, 1000)
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        if self.pointer:
            place += f": {printable(self.pointer, 200)}"
        text = f"{place}: found {self.found}, expected {self.expected}"
        return f"{text}; {self.hint}" if self.hint else text


class ConfigurationError(Exception):
    """What a person wrote cannot be used. ``faults`` has at least one entry, in the file's order."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        lines = [str(fault) for fault in self.faults[:_LISTED]]
        if len(self.faults) > _LISTED:
            lines.append(f"and {len(self.faults) - _LISTED} more faults")
        return "\n".join(lines)

    def to_json(self) -> bytes:
        """Return ``{"faults": [{"file", "line", "column", "pointer", "found", "expected", "hint"}]}``."""
        # The name of a file need not be UTF-8; JSON must.
        faults = [replace(f, file=f.file.encode(errors="backslashreplace").decode()) for f in self.faults]
        return msgspec.json.encode({"faults": faults})


class Problem(Exception):
    """What is wrong with one value; whoever knows its place makes a fault of it."""

    def __init__(self, found: str, expected: str, hint: str | None = None) -> None:
        super().__init__(found, expected, hint)
        self.found = found
        self.expected = expected
        self.hint = hint


def redact(text: str) -> str:
    """Take what may be secret out of a text that may be a URL, well formed or not.

    User-info goes, up to the last ``@``, as a password may hold any character, ``/`` and spaces
    included; so do the query, and what stands before or after the URL.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text.rpartition("@")[2]
    rest = rest.rpartition("@")[2]
    if "@" in scheme:
        scheme = scheme.rpartition("@")[2]
    words = scheme.split()
    scheme = words[-1] if words else ""
    if "?" in rest:
        rest = rest.partition("?")[0] + "?…"
    url = rest.split(maxsplit=1)
    return scheme + separator + (url[0] + " …" if len(url) > 1 else rest)


def printable(text: str, limit: int = _SHOWN) -> str:
    """Shorten a text and escape what a terminal would act on."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def quote(text: str) -> str:
    """Show a text in quotes: redacted, shortened, without control characters."""
    # A cut before the redaction keeps it quick; the limit is far above what is shown.
    return f'"{printable(redact(text))}"' if len(text) <= 100_000 else "a text of 100,000 characters or more"


def describe(value: object, *, secret: bool = False) -> str:
    """Say what a decoded value is, for the found part of a fault."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if secret:
            return "a text"
        return quote(value) if value else "an empty text"
    if isinstance(value, (int, float)):
        if secret or (isinstance(value, int) and value.bit_length() > 128):
            return "a number"
        return f"the number {value}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    return "an object" if value else "an empty object"
