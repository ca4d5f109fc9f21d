"""Texts of the configuration: variables expanded, commands split into words. No shell is started."""

from __future__ import annotations

import re
from collections.abc import Mapping

from razar.config.faults import Problem

__all__ = ["expand", "split_words"]

_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|(\{))")
#: Longest command, in characters: Linux takes no longer argument.
_LONGEST = 128 * 1024
_PLAIN_WORD = re.compile(r"[^ \t\r\n]+")


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace ``${VAR}`` and ``${VAR:-default}``, and ``$$`` by ``$``.

    The default is taken if the variable is unset or empty, as a POSIX shell does; a ``$`` before
    anything else stays. Raises Problem, which never shows a value.
    """
    if "$" in text:
        references = list(_REFERENCE.finditer(text))
        if any(match[4] for match in references):
            raise Problem(
                'a "${" that does not begin a variable',
                "${NAME} or ${NAME:-default}",
                "write $$ for a single $",
            )
        unset = [m[2] for m in references if m[2] and m[3] is None and m[2] not in environ]
        if unset:
            names = " and ".join(dict.fromkeys(unset))
            hint = f"set it, or write ${{{unset[0]}:-default}}"
            raise Problem(f"{names}, not set in the environment", "a variable that is set", hint)
        text = _REFERENCE.sub(lambda match: _value(match, environ), text)
    if "\0" in text:
        raise Problem("a NUL character", "a text without one")
    return text


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[1]:
        return "$"
    name = match[2]
    value = environ.get(name, "") or match[3] or ""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Problem(f"the variable {name}, whose value is not UTF-8", "text in UTF-8") from None
    return value


def split_words(text: str) -> tuple[str, ...]:
    """Split a command as a POSIX shell splits words, quotes and backslashes included; raise Problem."""
    if len(text) > _LONGEST:
        raise Problem(f"a command of {len(text)} characters", f"at most {_LONGEST}")
    if '"' not in text and "'" not in text and "\\" not in text:
        return tuple(_PLAIN_WORD.findall(text))
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        what = "a quote that is not closed" if "quotation" in str(error) else "a backslash at the end"
        raise Problem(f"{what} in a command", "words as a POSIX shell splits them") from None
