"""Files of KEY=VALUE lines, in the form that ``docker compose`` and systemd have in common."""

from __future__ import annotations

import re

from razar.config.document import not_utf8, read_bytes
from razar.config.faults import ConfigurationError, Fault, quote

__all__ = ["load_env_file"]

_MAX_BYTES = 1024 * 1024
#: Faults told of one file.
_TOLD = 1000
_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*(.*)")
_SINGLE = re.compile(r"'([^']*)'[ \t]*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def load_env_file(path: str) -> dict[str, str]:
    """Read an env file; raise ConfigurationError with every fault. Values never appear in one.

    Comments start with ``#`` at the start of a line or after white space, ``export`` before a name
    is allowed. Values stand bare, in single quotes (taken as they are) or in double quotes (with
    ``\\n``, ``\\t``, ``\\r``, ``\\\\`` and ``\\"``); nothing in them is expanded. A later line wins.
    """
    data = read_bytes(path, limit=_MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        not_utf8(data, error, path)
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if len(faults) >= _TOLD:
            break
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        column = len(line) - len(line.lstrip()) + 1
        match = _LINE.fullmatch(stripped)
        if match is None:
            name = stripped.partition("=")[0]
            found = f"the name {quote(name)}" if "=" in stripped else "a line without ="
            fault = Fault(file=path, line=number, column=column, found=found, expected="NAME=value")
            faults.append(fault)
            continue
        value = _value(match.group(2))
        if value is None or "\0" in value:
            wrong = "a NUL character" if "\0" in stripped else "a quote that does not end with the value"
            found = f"{wrong} in {match.group(1)}"
            expected = "a value that is bare, or whole in \"…\" or '…', on one line"
            faults.append(Fault(file=path, line=number, column=column, found=found, expected=expected))
            continue
        values[match.group(1)] = value
    if faults:
        raise ConfigurationError(faults)
    return values


def _value(text: str) -> str | None:
    """Return the value of a line, or None if a quote is not closed or something follows it."""
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match.group(1) if match else None
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        return _ESCAPE.sub(lambda m: _ESCAPED.get(m.group(1), m.group(1)), match.group(1)) if match else None
    return re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].rstrip()
