"""What opencode wrote down about one run in its home: its wires do not tell all of it."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Record", "record", "trouble"]

_PLACE = (".local", "share", "opencode")
_LOG_TAIL = 64 << 10
#: An answer of the model's service that it tries again after, for ever.
_STREAM_ERROR = re.compile(r'message="stream error".*? error\.error="(?:AI_\w+: )?((?:[^"\\]|\\.)*)"')


class Record(Struct, frozen=True, kw_only=True):
    """``error`` is the data of the last failed answer; tokens are those of all answers."""

    error: dict[str, Any] | None = None
    tokens: int | None = None
    requests: int = 0


def record(home: str) -> Record:
    """Read its database. Empty where there is none, or one of another form."""
    import sqlite3

    path = os.path.join(home, *_PLACE, "opencode.db")
    if not os.path.isfile(path):
        return Record()
    try:
        base = sqlite3.connect(path, timeout=1)
        try:
            rows = [row[0] for row in base.execute("select data from message order by rowid limit 10000")]
        finally:
            base.close()
    except sqlite3.Error:
        return Record()
    messages = [found for row in rows if (found := _decoded(row)).get("role") == "assistant"]
    counts = [count for message in messages if (count := _tokens(message.get("tokens"))) is not None]
    errors = [error for message in messages if isinstance(error := message.get("error"), dict)]
    data = errors[-1].get("data") if errors else None
    return Record(
        error=data if isinstance(data, dict) else None,
        tokens=sum(counts) if counts else None,
        requests=len(messages),
    )


def trouble(home: str) -> str | None:
    """The last words of its model's service after which it tried again; not yet fit to be shown."""
    try:
        with open(os.path.join(home, *_PLACE, "log", "opencode.log"), "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL))
            text = file.read(_LOG_TAIL).decode(errors="replace")
    except OSError:
        return None
    found = _STREAM_ERROR.findall(text)
    return found[-1] if found else None


def _decoded(row: Any) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(row)
    except (msgspec.DecodeError, TypeError, UnicodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _tokens(tokens: Any) -> int | None:
    if not isinstance(tokens, dict):
        return None
    cache = tokens.get("cache")
    cache = cache if isinstance(cache, dict) else {}
    parts = [tokens.get(name) for name in ("input", "output", "reasoning")]
    parts += [cache.get(name) for name in ("read", "write")]
    return sum(part for part in parts if isinstance(part, int) and not isinstance(part, bool) and part >= 0)
