"""What a patch may be: which files, how many, how large; and the change it makes of each."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping

from msgspec import Struct

from agents.razar.patching import content, globs, names
from agents.razar.patching.decoding import decode
from agents.razar.patching.edits import by_path, new_text
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.tree import Tree
from agents.razar.proposals.proposal import Edit, Proposal
from razar.utils.digests import sha256_hex

__all__ = ["Change", "PatchPolicy", "changes", "diff_of"]

#: Lines of both sides that are compared at most; far above what a patch may change.
_COMPARED = 4000
_NEW_MODE = 0o644


class PatchPolicy(Struct, frozen=True, kw_only=True):
    """Limits of a patch. ``protected`` are globs, ``commands`` argument lists whose files are off limits.

    ``health_paths`` are request paths of the component's probe (``/healthz``): the code that answers
    them may not change. ``lines`` counts added and removed lines together; sizes are bytes.
    """

    files: int = 10
    lines: int = 400
    file_bytes: int = 1 << 20
    proposal_bytes: int = 2 << 20
    protected: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    health_paths: tuple[str, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """A file before and after. ``before`` None: it is made. ``mode`` holds the permission bits."""

    path: str
    before: bytes | None
    after: bytes
    mode: int

    @property
    def sha256_before(self) -> str | None:
        return None if self.before is None else sha256_hex(self.before)

    @property
    def sha256_after(self) -> str:
        return sha256_hex(self.after)


def changes(
    proposal: Proposal,
    tree: Tree,
    *,
    paths: tuple[str, ...],
    tests: tuple[tuple[str, ...], ...],
    policy: PatchPolicy,
    seen: Mapping[str, str] | None = None,
    logs: str = "",
) -> tuple[Change, ...]:
    """Turn a proposal into changes of files. Nothing is written. Raises Refusal.

    ``paths`` and ``tests`` are those of ``repair``; ``seen`` gives the SHA-256 of files as the agent
    saw them, by path; ``logs`` is the folder of the logs, which is off limits too.
    """
    _check_size(proposal, policy)
    grouped = by_path(proposal.edits)
    if len(grouped) > policy.files:
        raise Refusal(f"{len(grouped)} files are to be changed; the limit is {policy.files}")
    _check_distinct(grouped)
    # Every name is judged before the first file is read.
    for path in grouped:
        names.check_name(path)
        if not globs.allowed(path, paths):
            raise Refusal(f"{path!a} is not covered by the component's repair.paths")
        if globs.allowed(path, policy.protected):
            raise Refusal(f"{path!a} is protected")
        if logs and os.path.join(tree.root, path).startswith(os.path.realpath(logs) + "/"):
            raise Refusal(f"{path!a} lies in the folder of the logs")
        if names.named_in(path, (*tests, *policy.commands)):
            raise Refusal(f"{path!a} is named by a test or probe; a repair may not change what judges it")
        names.check_purpose(path, new=False)
    made = tuple([_change(tree, path, edits, policy, seen or {}) for path, edits in grouped.items()])
    _check_amount(made, policy)
    return made


def _check_size(proposal: Proposal, policy: PatchPolicy) -> None:
    if not proposal.edits:
        raise Refusal("the proposal holds no edit")
    if len(proposal.edits) > policy.lines:
        raise Refusal(f"the proposal holds {len(proposal.edits)} edits; the limit is {policy.lines}")
    size = sum(
        len(text) for edit in proposal.edits for text in (edit.path, edit.old, edit.new, edit.content) if text
    )
    if size > policy.proposal_bytes:
        raise Refusal(f"the proposal has {size} characters; the limit is {policy.proposal_bytes}")


def _check_distinct(grouped: Iterable[str]) -> None:
    folded: dict[str, str] = {}
    for path in grouped:
        other = folded.setdefault(path.casefold(), path)
        if other != path:
            raise Refusal(f"{path!a} and {other!a} differ in upper and lower case alone")


def _change(tree: Tree, path: str, edits: list[Edit], policy: PatchPolicy, seen: Mapping[str, str]) -> Change:
    os.close(tree.folder(path))
    tree.check_spelling(path)
    existing = tree.read(path, limit=policy.file_bytes)
    names.check_purpose(path, new=existing is None)
    if path in seen and seen[path] != (existing.sha256 if existing else ""):
        raise Refusal(f"{path!a} was changed after the agent had seen it", passing=True)
    before = decode(path, existing.data) if existing else None
    text = new_text(path, before, edits)
    content.check_characters(path, before, text)
    try:
        after = text.encode()
    except UnicodeEncodeError:
        raise Refusal(f"the new text of {path!a} holds half characters (surrogates)") from None
    if len(after) > policy.file_bytes:
        raise Refusal(f"{path!a} would have {len(after)} bytes; the limit for a file is {policy.file_bytes}")
    if before is not None and _words(before) == _words(text):
        raise Refusal(f"the proposal changes nothing in {path!a} but blank lines")
    content.check_parse(path, before, text)
    content.check_kept(path, before, text, policy.health_paths)
    mode = existing.mode if existing else _NEW_MODE
    return Change(path=path, before=existing.data if existing else None, after=after, mode=mode)


def _words(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _check_amount(made: tuple[Change, ...], policy: PatchPolicy) -> None:
    total, substance = 0, False
    for change in made:
        for mark, line in _compared(change):
            total += 1
            substance = substance or (mark == "+" and not content.is_filler(change.path, line))
    if total > policy.lines:
        raise Refusal(f"{total} lines are added and removed; the limit is {policy.lines}")
    if not substance:
        raise Refusal("the patch only deletes: it adds no line but blanks, comments or pass")


def _compared(change: Change) -> list[tuple[str, str]]:
    """The added and removed lines. What both sides begin and end with is left out of the search."""
    old, new = _lines(change.before or b""), _lines(change.after)
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if change.before is not None and min(len(old), len(new)) > _COMPARED:
        raise Refusal(f"the change of {change.path!a} is too large to be compared")
    found = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            found += [("-", line) for line in old[i1:i2]] + [("+", line) for line in new[j1:j2]]
    return found


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").split("\n")


def diff_of(made: Iterable[Change]) -> str:
    """Show changes as a unified diff, for people and logs; line ends are shown as ``\\n``."""
    parts: list[str] = []
    for change in made:
        for line in difflib.unified_diff(
            (change.before or b"").decode(errors="replace").splitlines(keepends=True),
            change.after.decode(errors="replace").splitlines(keepends=True),
            "/dev/null" if change.before is None else f"a/{change.path}",
            f"b/{change.path}",
        ):
            whole = line.endswith("\n")
            parts.append(line.rstrip("\r\n") + "\n" + ("" if whole else "\\ No newline at end of file\n"))
    return "".join(parts)
