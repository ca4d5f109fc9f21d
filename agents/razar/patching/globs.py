"""The globs of ``repair.paths``: which files of a mission agents may change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["allowed", "matches", "reaches"]

_WILD = re.compile(r"[*?\[]")


def allowed(path: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a relative path is covered by one of the globs. Case counts, on every file system."""
    return any(matches(path, pattern) for pattern in patterns)


def matches(path: str, pattern: str) -> bool:
    """Match one glob: ``*`` and ``?`` stay within a folder, ``**`` crosses them, ``[a-z]`` is a set.

    A pattern without wildcards covers a file, or everything in a folder.
    """
    pattern = pattern.removeprefix("./").rstrip("/")
    if not _WILD.search(pattern):
        return path == pattern or path.startswith(f"{pattern}/") or pattern == "."
    return _compiled(pattern).fullmatch(path) is not None


def reaches(folder: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of the globs can cover a file below a folder: others need not be looked into."""
    names = folder.split("/")
    return any(_leads(names, pattern.removeprefix("./").rstrip("/")) for pattern in patterns)


def _leads(names: list[str], pattern: str) -> bool:
    parts = pattern.split("/")
    wild = _WILD.search(pattern) is not None
    for number, name in enumerate(names):
        if number == len(parts):
            return not wild  # Without wildcards it covers all that is in it.
        part = parts[number]
        if part == "**" or pattern == ".":
            return True
        if name != part and not (wild and _compiled(part).fullmatch(name)):
            return False
    return len(names) < len(parts) or not wild


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = [_segment(part) if part != "**" else None for part in pattern.split("/")]
    expression = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part is None:
            # At the end it needs at least one name, elsewhere it may stand for nothing.
            expression += "(?:[^/]+/)*[^/]+" if last else "(?:[^/]+/)*"
        else:
            expression += part if last else f"{part}/"
    return re.compile(expression)


def _segment(part: str) -> str:
    pieces = re.findall(r"\[!?\]?[^\]]*\]|\*+|\?|.", part, re.DOTALL)
    return "".join(map(_piece, pieces))


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if len(piece) > 2 and piece.startswith("["):
        body = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        negated = body.startswith("!")
        body = body[1:] if negated else body
        body = body.replace("^", "\\^").replace("]", "\\]").replace("&&", "&\\&")
        try:
            re.compile(f"[{body}]")
        except re.error:
            return re.escape(piece)
        return f"(?!/)[{'^' if negated else ''}{body}]"
    return re.escape(piece)
