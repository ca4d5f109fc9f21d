"""What the commands print: tables, ages, colours on a terminal, and the words for a fault."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

__all__ = ["age", "clean", "columns", "complain", "describe_waiting", "paint", "print_json", "print_table"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_STATES = {
    "running": "green",
    "completed": "green",
    "igniting": "cyan",
    "pending": "cyan",
    "backoff": "yellow",
    "unhealthy": "yellow",
    "repairing": "yellow",
    "stopping": "yellow",
    "held": "yellow",
    "quarantined": "red",
    "failed": "red",
    "blocked": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}


def paint(text: str, colour: str | None, stream: TextIO | None = None) -> str:
    """Colour a text, on a terminal only, unless NO_COLOR or TERM=dumb; ``colour`` is a name or a state."""
    stream = sys.stdout if stream is None else stream
    code = _CODES.get(_STATES.get(colour or "", colour or ""))
    if code is None or not _colours(stream):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns(stream: TextIO | None = None) -> int | None:
    """Width of the terminal; None if the output goes elsewhere and must not be cut."""
    stream = sys.stdout if stream is None else stream
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):
        return None


def clean(text: str) -> str:
    """Make a text from outside fit for a terminal: one line, no control characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[str] = (),
    coloured: str | None = None,
) -> None:
    """Print columns as wide as their contents; on a terminal the last one is cut at the edge.

    ``right`` names the columns that are aligned to the right, ``coloured`` the one whose words
    are painted as states.
    """
    lines = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(line[index]) for line in (list(header), *lines)) for index in range(len(header))]
    aligned, edge = set(right), columns()
    for number, line in enumerate((list(header), *lines)):
        cells, used = [], 0
        for index, cell in enumerate(line):
            last = index == len(header) - 1
            if last and edge is not None and used + len(cell) > edge:
                cell = cell[: max(0, edge - used - 1)] + "…"
            padded = (
                cell.rjust(widths[index])
                if header[index] in aligned
                else cell
                if last
                else cell.ljust(widths[index])
            )
            used += len(padded) + 2
            if number == 0:
                padded = paint(padded, "dim")
            elif header[index] == coloured:
                padded = paint(padded, cell)
            cells.append(padded)
        print("  ".join(cells).rstrip())


def age(seconds: float) -> str:
    """Name a span of time by its two largest units: ``3m 12s``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def describe_waiting(progress: Mapping[str, Any]) -> str:
    """Say who is waited for: one line from a progress message of the supervisor."""
    words = []
    for entry in progress.get("waiting") or ():
        holders = ", ".join(entry.get("holders") or ())
        detail = f"{entry.get('state')}: {holders}" if holders else f"{entry.get('state')}"
        words.append(f"{entry.get('id')} ({detail})")
    shown = "; ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
    return clean(shown)


def complain(message: str) -> None:
    """Tell a fault on stderr."""
    print(f"razar: {clean(message)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2))
