"""From the text an agent was shown and the text it made of it to edits of the real file.

The real file may hold secrets where the shown one has masks. Lines that are the same in both are matched
by place; what an agent changed may stand on such lines only.
"""

from __future__ import annotations

import difflib

from msgspec import Struct

from agents.razar.errors import ProposalRefusedError
from agents.razar.patching.edits import new_text
from agents.razar.patching.refusal import Refusal
from agents.razar.proposals.proposal import Edit
from razar.utils.redaction import MASK

__all__ = ["Shown", "edits_between", "hunks", "merged"]

#: Files that may be given whole where no edit is certain, in characters.
_WHOLE = 64 << 10
#: Lines that are compared one by one; a longer stretch counts as changed as a whole.
_COMPARED = 2000
#: Lines before and after a change that may be needed to name its place.
_AROUND = 60


class Shown(Struct, frozen=True, kw_only=True):
    """A file as it is, and as an agent sees it."""

    path: str
    real: str
    text: str

    @property
    def masked(self) -> bool:
        """Whether something was withheld."""
        return self.real != self.text


class Hunk(Struct, frozen=True):
    """Lines ``start`` to ``end`` of the old text become ``lines``."""

    start: int
    end: int
    lines: tuple[str, ...]


def lines_of(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one."""
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def hunks(before: str, after: str) -> list[Hunk]:
    """What changed between two texts, by lines."""
    old, new = lines_of(before), lines_of(after)
    top = 0
    while top < min(len(old), len(new)) and old[top] == new[top]:
        top += 1
    low = 0
    while low < min(len(old), len(new)) - top and old[-1 - low] == new[-1 - low]:
        low += 1
    a, b = old[top : len(old) - low], new[top : len(new) - low]
    if not a and not b:
        return []
    if max(len(a), len(b)) > _COMPARED:
        return [Hunk(top, top + len(a), tuple(b))]
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [
        Hunk(top + i, top + j, tuple(b[k:m])) for kind, i, j, k, m in matcher.get_opcodes() if kind != "equal"
    ]


def merged(path: str, base: str, one: str, other: str) -> str:
    """Both changes of one text together. Raises ProposalRefusedError where they meet."""
    if base == one or one == other:
        return other
    if base == other:
        return one
    changes = hunks(base, one)
    for hunk in hunks(base, other):
        if hunk in changes:
            continue
        if any(_meet(hunk, change) for change in changes):
            raise ProposalRefusedError(
                f"the answer is refused: it edits the same lines of {path!a} twice, around line {hunk.start + 1}, "
                "and the second edit does not build on the first"
            )
        changes.append(hunk)
    return _applied(lines_of(base), changes)


def _meet(one: Hunk, other: Hunk) -> bool:
    if one.start == one.end or other.start == other.end:  # An insertion: even beside it the order is open.
        return one.start <= other.end and other.start <= one.end
    return one.start < other.end and other.start < one.end


def _applied(lines: list[str], changes: list[Hunk]) -> str:
    pieces: list[str] = []
    at = 0
    for hunk in sorted(changes, key=lambda hunk: hunk.start):
        pieces += [*lines[at : hunk.start], *hunk.lines]
        at = hunk.end
    return "".join([*pieces, *lines[at:]])


def edits_between(shown: Shown, after: str) -> list[Edit]:
    """The edits of the real file; none if nothing changed. Raises ProposalRefusedError."""
    if "\r\n" in shown.text and shown.text.count("\r\n") == shown.text.count("\n") and "\r" not in after:
        after = after.replace("\n", "\r\n")
    changes = hunks(shown.text, after)
    if not changes:
        return []
    real = lines_of(shown.real)
    barred: set[int] = set()
    if shown.masked:
        places = _places(real, lines_of(shown.text))
        barred = set(range(len(real))) - set(places)
        changes = _of_real(shown, places, changes)
    wanted = _applied(real, changes)
    edits = _searched(shown.path, shown.real, real, changes, barred)
    if edits is not None and _gives(shown, edits, wanted):
        return edits
    whole = [Edit(path=shown.path, content=wanted)]
    if not shown.masked and len(wanted) <= _WHOLE and _gives(shown, whole, wanted):
        return whole
    raise ProposalRefusedError(
        f"the answer is refused: its change of {shown.path!a} has no place that can be named by its text"
    )


def _gives(shown: Shown, edits: list[Edit], wanted: str) -> bool:
    try:
        found = new_text(shown.path, shown.real, edits)
    except Refusal:
        return False
    # The pipeline keeps a file's own line ends, and its final newline or the lack of one.
    return found.replace("\r\n", "\n").removesuffix("\n") == wanted.replace("\r\n", "\n").removesuffix("\n")


def _of_real(shown: Shown, places: list[int | None], changes: list[Hunk]) -> list[Hunk]:
    """The same changes by the line numbers of the real file."""
    seen = lines_of(shown.text)
    found = []
    for hunk in changes:
        mine = [places[line] for line in range(hunk.start, hunk.end)]
        start = _start(places, hunk)
        if start is None or any(place != start + number for number, place in enumerate(mine)):
            raise _touches(shown.path, hunk)
        if any(MASK in line for line in hunk.lines) and not any(
            MASK in line for line in seen[hunk.start : hunk.end]
        ):
            raise _touches(shown.path, hunk)
        found.append(Hunk(start, start + len(mine), hunk.lines))
    return found


def _start(places: list[int | None], hunk: Hunk) -> int | None:
    if hunk.start < len(places) and (place := places[hunk.start]) is not None:
        return place
    if hunk.start > 0 and (place := places[hunk.start - 1]) is not None:
        return place + 1
    return 0 if not places else None


def _places(real: list[str], seen: list[str]) -> list[int | None]:
    """For each line that is shown, the real line it is; None for one with a mask in it."""
    if len(real) == len(seen):
        return [number if real[number] == seen[number] else None for number in range(len(seen))]
    places: list[int | None] = [None] * len(seen)
    for i, j, size in difflib.SequenceMatcher(None, real, seen, autojunk=False).get_matching_blocks():
        places[j : j + size] = range(i, i + size)
    return places


def _touches(path: str, hunk: Hunk) -> ProposalRefusedError:
    return ProposalRefusedError(
        f"the answer is refused: its change of {path!a} at line {hunk.start + 1} touches a place where a secret "
        "is withheld"
    )


def _searched(
    path: str, text: str, lines: list[str], changes: list[Hunk], barred: set[int]
) -> list[Edit] | None:
    """Edits with as many lines around each change as make its place certain; None if none do.

    ``barred`` are the lines that no edit may quote.
    """
    edits: list[Edit] = []
    done = 0  # Lines before this one belong to an edit already.
    waiting = sorted(changes, key=lambda hunk: hunk.start)
    while waiting:
        group = [waiting.pop(0)]
        start, end = group[0].start, group[0].end
        for _ in range(_AROUND):
            if _certain(path, text, lines[start:end]):
                break
            if start > done and start - 1 not in barred:
                start -= 1
            if end < len(lines) and end not in barred:
                end += 1
            while waiting and waiting[0].start <= end:
                group.append(waiting.pop(0))
                end = max(end, group[-1].end)
        else:
            return None
        moved = [Hunk(hunk.start - start, hunk.end - start, hunk.lines) for hunk in group]
        old, new = "".join(lines[start:end]), _applied(lines[start:end], moved)
        if old == new:
            return None
        edits.append(Edit(path=path, old=old, new=new))
        done = end
    return edits


def _certain(path: str, text: str, lines: list[str]) -> bool:
    old = "".join(lines)
    if not old.strip():
        return False
    try:
        new_text(path, text, [Edit(path=path, old=old, new="")])
    except Refusal:
        return False
    return True
