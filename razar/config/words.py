"""Texts of the configuration: variables expanded, commands split into words. No shell is started."""

from __future__ import annotations

import re
from collections.abc import Mapping

from razar.config.faults import Problem

__all__ = ["expand", "split_words"]

_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|(\{))")
_PLAIN_WORD = re.compile(r"[^ \t\r\n]+")


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace ``${VAR}`` and ``${VAR:-default}``, and ``$$`` by ``$``.

    The default is taken if the variable is unset or empty, as a POSIX shell does; a ``$`` before
    anything else stays. Raises Problem, which never shows a value.
    """
    if "$" in text:
        text = _REFERENCE.sub(lambda match: _value(match, environ), text)
    if "\0" in text:
        raise Problem("a NUL character", "a text without one")
    return text


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    dollar, name, default, broken = match.groups()
    if dollar:
        return "$"
    if broken:
        raise Problem(
            'a "${" that does not begin a variable', "${NAME} or ${NAME:-default}", "write $$ for a single $"
        )
    value = environ.get(name, "")
    if default is not None:
        value = value or str(default)
    elif name not in environ:
        raise Problem(
            f"the variable {name}, which is not set",
            "a variable of the environment",
            f"set it, or write ${{{name}:-default}}",
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Problem(f"the variable {name}, whose value is not UTF-8", "text in UTF-8") from None
    return value


def split_words(text: str) -> tuple[str, ...]:
    """Split a command as a POSIX shell splits words, quotes and backslashes included; raise Problem."""
    if '"' not in text and "'" not in text and "\\" not in text:
        return tuple(_PLAIN_WORD.findall(text))
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        what = "a quote that is not closed" if "quotation" in str(error) else "a backslash at the end"
        raise Problem(f"{what} in a command", "words as a POSIX shell splits them") from None
