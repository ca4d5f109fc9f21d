"""Edits of a proposal turned into the new text of each file: one exact match, or a refusal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import pairwise

from msgspec import Struct

from agents.razar.patching.refusal import Refusal
from agents.razar.proposals.proposal import Edit

__all__ = ["by_path", "new_text"]

#: Lines of a file that are compared when a text was not found, and characters of each.
_LINES_COMPARED = 5000
_LINE_COMPARED = 200


class _Place(Struct, frozen=True):
    start: int
    end: int
    new: str


def by_path(edits: Iterable[Edit]) -> dict[str, list[Edit]]:
    """Group edits by file, in order. Refuses a file that is both replaced whole and edited."""
    grouped: dict[str, list[Edit]] = {}
    for edit in edits:
        grouped.setdefault(edit.path, []).append(edit)
    for path, group in grouped.items():
        if len(group) > 1 and any(edit.content is not None for edit in group):
            raise Refusal(f"{path!a} is given whole and edited in the same proposal")
        for edit in group:
            _check_form(edit)
    return grouped


def _check_form(edit: Edit) -> None:
    whole = edit.content is not None
    part = edit.old is not None and edit.new is not None
    if whole == part or (whole and (edit.old is not None or edit.new is not None)):
        raise Refusal(f"an edit of {edit.path!a} must have either old and new, or content")


def new_text(path: str, before: str | None, edits: list[Edit]) -> str:
    """The text of a file after its edits; ``before`` is None for a file that does not exist yet.

    The file's own line ends, byte order mark and missing final newline are kept. All edits refer
    to the text as it was; each ``old`` must be there exactly once, and no two may overlap.
    """
    content = edits[0].content
    if before is None:
        if content is None:
            raise Refusal(f"{path!a} does not exist, so nothing in it can be replaced")
        return content
    crlf = "\r\n" in before and before.count("\r\n") == before.count("\n")
    mixed = "\r\n" in before and not crlf
    text = before.replace("\r\n", "\n") if crlf else before
    if content is not None:
        after = _like(text, content if mixed else content.replace("\r\n", "\n"))
    else:
        after = _replaced(path, text, edits, raw=mixed)
    return after.replace("\n", "\r\n") if crlf else after


def _like(text: str, content: str) -> str:
    """Give a whole new text the byte order mark and the final newline (or none) of the old one."""
    content = content.removeprefix("\ufeff")
    if text.startswith("\ufeff"):
        content = "\ufeff" + content
    if not text or not content:
        return content
    if text.endswith("\n"):
        return content if content.endswith("\n") else content + "\n"
    return content.removesuffix("\n")


def _replaced(path: str, text: str, edits: list[Edit], *, raw: bool) -> str:
    places = []
    for edit in edits:
        old, new = edit.old or "", edit.new or ""
        if not raw:
            old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
        places.append(_place(path, text, old, new))
    places.sort(key=lambda place: place.start)
    for first, second in pairwise(places):
        if second.start < first.end:
            raise Refusal(f"two edits of {path!a} overlap at line {_line(text, second.start)}")
    pieces, at = [], 0
    for place in places:
        pieces += [text[at : place.start], place.new]
        at = place.end
    return "".join([*pieces, text[at:]])


def _place(path: str, text: str, old: str, new: str) -> _Place:
    if not old.strip():
        raise Refusal(f"the text to replace in {path!a} is empty; give the lines around the place too")
    starts = _find_all(text, old)
    if not starts and old.endswith("\n") and not text.endswith("\n"):
        # The file's last line has no newline: models cannot see that.
        end = len(text) - len(old) + 1
        if end >= 0 and text.endswith(old[:-1]) and _at_line_start(text, end):
            return _Place(end, len(text), new.removesuffix("\n"))
    if old.endswith("\n"):
        # Whole lines are meant: the end of a longer line is another line.
        starts = [start for start in starts if _at_line_start(text, start)]
    if len(starts) == 1:
        return _Place(starts[0], starts[0] + len(old), new)
    if not starts:
        raise Refusal(f"the text to replace is not in {path!a}{_nearest(text, old, new)}")
    lines = ", ".join(str(_line(text, start)) for start in starts[:5])
    more = " and more" if len(starts) > 5 else ""
    raise Refusal(
        f"the text to replace is in {path!a} more than once (lines {lines}{more}); add lines around it"
    )


def _find_all(text: str, old: str) -> list[int]:
    starts: list[int] = []
    at = text.find(old)
    while at >= 0 and len(starts) < 7:
        starts.append(at)
        at = text.find(old, at + 1)
    return starts


def _at_line_start(text: str, at: int) -> bool:
    return at == 0 or text[at - 1] == "\n"


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _nearest(text: str, old: str, new: str) -> str:
    """Say which lines come near, so that the next attempt can quote them."""
    if new.strip() and new in text:
        return "; the replacement is there already"
    wanted = next(line for line in old.splitlines() if line.strip()).strip()[:_LINE_COMPARED]
    lines = [line.strip()[:_LINE_COMPARED] for line in text.splitlines()[:_LINES_COMPARED]]
    near = difflib.get_close_matches(wanted, {line for line in lines if line}, n=3, cutoff=0.6)
    if not near:
        return "; no line of it comes near"
    shown = ", ".join(f"line {lines.index(line) + 1}: {line!r}" for line in near)
    return f"; the nearest lines are {shown}"
