"""Unified diffs, read strictly, as edits; whatever is not plainly a change of text is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.razar.patching.refusal import Refusal
from agents.razar.proposals.proposal import Edit

__all__ = ["edits_of_diff"]

# The form: POSIX.1-2024, diff, "Diff -u Output Format"; the headers before it: git-diff(1),
# "Generating patch text with -p".
_HUNK = re.compile(r"@@ -(\d{1,7})(?:,(\d{1,7}))? \+(\d{1,7})(?:,(\d{1,7}))? @@(?: .*)?")
_INDEX = re.compile(r"index [0-9a-f]{4,64}\.\.[0-9a-f]{4,64}(?: 100644| 100755)?")
_NO_NEWLINE = "\\ No newline at end of file"


class _Lines:
    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.at = 0

    @property
    def next(self) -> str | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    def take(self) -> str:
        line = self.next
        if line is None:
            raise Refusal("the diff ends in the middle")
        self.at += 1
        return line

    def wrong(self, what: str) -> Refusal:
        return Refusal(f"line {self.at} of the diff: {what}")


def edits_of_diff(text: str) -> tuple[Edit, ...]:
    """Translate a diff. Raises Refusal for wrong counts, missing numbers, links, modes, renames, deletions."""
    lines = _Lines(text)
    edits: list[Edit] = []
    while lines.next is not None:
        edits.extend(_file(lines))
    if not edits:
        raise Refusal("the diff is empty")
    return tuple(edits)


def _file(lines: _Lines) -> Iterator[Edit]:
    created = _headers(lines)
    old = _header_path(lines, "--- ")
    new = _header_path(lines, "+++ ")
    if new is None:
        raise lines.wrong("it deletes a file")
    if created and old is not None:
        raise lines.wrong("it makes a new file of one that is there")
    if old is not None:
        if old.startswith("a/") and new.startswith("b/"):
            old, new = old[2:], new[2:]
        if old != new:
            raise lines.wrong("it renames a file")
    else:
        new = new.removeprefix("b/")
    found = 0
    while lines.next is not None and lines.next.startswith("@@"):
        found += 1
        before, after = _hunk(lines)
        if old is None:
            if before or found > 1:
                raise lines.wrong("a new file cannot have lines before the change")
            yield Edit(path=new, content=after)
        else:
            if not before:
                raise lines.wrong("a hunk without a line that is there already has no certain place")
            if before == after:
                raise lines.wrong("the hunk changes nothing")
            yield Edit(path=new, old=before, new=after)
    if not found:
        raise lines.wrong("there is no hunk")


def _headers(lines: _Lines) -> bool:
    """Pass over git's own lines; tell whether a new file is announced."""
    created = False
    if (lines.next or "").startswith("diff --git "):
        lines.take()
        while not (lines.next or "--- ").startswith("--- "):
            line = lines.take()
            if line == "new file mode 100644":
                created = True
            elif not _INDEX.fullmatch(line):
                raise lines.wrong("only the text of files may change, not their modes, names or kinds")
    return created


def _header_path(lines: _Lines, mark: str) -> str | None:
    line = lines.take()
    if not line.startswith(mark):
        raise lines.wrong(f"{mark.strip()} and a path was expected")
    # A time stamp may follow after a tab. Names in quotes hold what no name here may hold.
    path = line[len(mark) :].split("\t")[0].removesuffix("\r")
    if not path or path.startswith('"'):
        raise lines.wrong("the path is empty or in quotes")
    return None if path == "/dev/null" else path


def _hunk(lines: _Lines) -> tuple[str, str]:
    head = _HUNK.fullmatch(lines.take().removesuffix("\r"))
    if head is None:
        raise lines.wrong("a hunk must begin with @@ -line,count +line,count @@")
    want_old = int(head[2]) if head[2] is not None else 1
    want_new = int(head[4]) if head[4] is not None else 1
    before: list[str] = []
    after: list[str] = []
    while len(before) < want_old or len(after) < want_new:
        line = lines.take()
        kind, rest = line[:1], line[1:] + "\n"
        if kind not in (" ", "-", "+"):
            raise lines.wrong("the counts of the hunk are wrong, or a line lacks its mark")
        if kind != "+":
            before.append(rest)
        if kind != "-":
            after.append(rest)
        if (lines.next or "").removesuffix("\r") == _NO_NEWLINE:
            lines.take()
            for side in [before] if kind == "-" else [after] if kind == "+" else [before, after]:
                side[-1] = side[-1].removesuffix("\n")
    if len(before) != want_old or len(after) != want_new:
        raise lines.wrong("the counts of the hunk are wrong")
    following = lines.next
    if following is not None and not following.startswith(("@@", "diff --git ", "--- ")):
        raise lines.wrong("the counts of the hunk are wrong, or text follows the diff")
    return "".join(before), "".join(after)
