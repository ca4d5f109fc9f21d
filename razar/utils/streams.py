"""The standard streams as a command line finds them: closed, or in an encoding that has not every character."""

from __future__ import annotations

import os
import sys

__all__ = ["use_streams"]

_ESCAPE = "razar.escape"


def use_streams() -> None:
    """Make writing to the standard streams possible, whatever they are; call it before anything is opened.

    Started with closed streams (``>&-``) their numbers would go to our own files: they become
    /dev/null. A character that an encoding lacks, or a byte of a file name that is no text, is
    written as ``\\uXXXX``.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            import codecs

            # Not backslashreplace: its \xe9 and \U0001f680 would be no JSON.
            codecs.register_error(_ESCAPE, _escape)
            stream.reconfigure(errors=_ESCAPE)


def _escape(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    units = fault.object[fault.start : fault.end].encode("utf-16-be", "surrogatepass").hex()
    escaped = "".join("\\u" + units[place : place + 4] for place in range(0, len(units), 4))
    return escaped, fault.end
