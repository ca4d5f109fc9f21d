"""Which files of a component an agent is shown, the one that failed first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from agents.razar.disclosure.masking import masked_source
from agents.razar.patching import globs, names
from agents.razar.patching.decoding import decode
from agents.razar.patching.left_out import left_out
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.tree import Tree
from razar.utils.patterns import Pattern

__all__ = ["Frame", "Shown", "frames_in", "in_place", "learn_from", "sources_for"]

#: Names that are looked at in a mission folder, and bytes of a file that is read.
_LOOKED_AT = 20_000
_FILE = 1 << 20
#: Characters beyond what is shown that are looked at for secrets.
_MARGIN = 4000

_PYTHON = Pattern(
    r'File "(?P<path>[^"]{1,1000})", line (?P<line>\d{1,7})(?:, in (?P<function>[^\s]{1,100}))?', 'File "'
)
_OTHER = Pattern(r"(?<![\w@./+-])(?P<path>[\w@./+-]{1,500}\.[A-Za-z]{1,5}):(?P<line>\d{1,7})(?!\d)", ":")


class Frame(Struct, frozen=True):
    """A place in a file of the mission, relative to its folder."""

    path: str
    line: int
    function: str | None


class Shown(Struct, frozen=True, kw_only=True):
    """A file as an agent sees it. ``sha256`` and ``size`` are those of the real bytes."""

    path: str
    text: str
    sha256: str
    size: int
    masked: int = 0
    cut: bool = False


def frames_in(lines: Sequence[str], root: str) -> list[Frame]:
    """The places inside the mission folder that a text names, each once, in their order."""
    found: dict[tuple[str, int], Frame] = {}
    for line in lines:
        line = line[:4000]
        match = _PYTHON.search(line) or _OTHER.search(line)
        path = None if match is None else _inside(match["path"], root)
        if match is None or path is None:
            continue
        frame = Frame(path, int(match["line"]), match.groupdict().get("function"))
        found.pop((frame.path, frame.line), None)  # Where it stands last counts.
        found[frame.path, frame.line] = frame
    return list(found.values())


def _inside(path: str, root: str) -> str | None:
    whole = os.path.normpath(os.path.join(root, path))
    for base in (root, os.path.realpath(root)):
        if whole.startswith(base.rstrip("/") + "/"):
            return os.path.relpath(whole, base)
    return None


def sources_for(
    root: str,
    logs: str,
    paths: tuple[str, ...],
    frames: Sequence[Frame],
    argv: Sequence[str],
    each: int,
    together: int,
    most: int,
) -> list[Shown]:
    """The files of ``repair.paths`` that fit: those of the traceback first, then those the command names.

    ``each`` and ``together`` are characters, ``most`` is a number of files.
    """
    if not paths:
        return []
    wanted = [frame.path for frame in reversed(frames)]
    found = list(_files(root, logs, paths))
    rank = {path: number for number, path in reversed(list(enumerate(wanted)))}
    words = {os.path.normpath(word) for word in argv}
    found.sort(key=lambda path: (rank.get(path, len(rank)), path not in words, path.count("/"), path))
    shown: list[Shown] = []
    left = together
    try:
        tree = Tree(root)
    except OSError:
        return []
    with tree:
        for path in found:
            if len(shown) == most or left <= 0:
                break
            file = _read(tree, path, min(each, left))
            if file is not None:
                shown.append(file)
                left -= len(file.text)
    return shown


def _files(root: str, logs: str, paths: tuple[str, ...]) -> Iterator[str]:
    seen = 0
    hidden = os.path.realpath(logs)
    for folder, inner, files in os.walk(root):
        above = "" if folder == root else os.path.relpath(folder, root) + "/"
        inner[:] = sorted(
            name
            for name in inner
            if not left_out(name)
            and not name.startswith(".")
            and globs.reaches(above + name, paths)
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            and os.path.realpath(os.path.join(folder, name)) != hidden
        )
        for name in sorted(files):
            seen += 1
            if seen > _LOOKED_AT:
                return
            if globs.allowed(above + name, paths) and not left_out(name):
                yield above + name


def _read(tree: Tree, path: str, limit: int) -> Shown | None:
    """A file that may be changed and read; None for others."""
    try:
        names.check_name(path)
        names.check_purpose(path, new=False)
        existing = tree.read(path, limit=_FILE)
        if existing is None:
            return None
        text = decode(path, existing.data)
    except (Refusal, OSError):
        return None
    # What will not be shown need not be searched, but for a margin, so that no secret is cut in two.
    done = masked_source(text[: limit + _MARGIN], path)
    cut = len(done.text) > limit
    if cut:
        end = done.text.rfind("\n", 0, limit) + 1
        if end == 0:
            return None  # Less than a line of it fits.
        done = replace(done, text=done.text[:end])
    return Shown(
        path=path,
        text=done.text,
        sha256=existing.sha256,
        size=len(existing.data),
        masked=done.places,
        cut=cut,
    )


def in_place(root: str, digests: Mapping[str, str]) -> bool:
    """Whether every file holds exactly the bytes with these digests."""
    try:
        with Tree(root) as tree:
            for path, sha256 in digests.items():
                names.check_name(path)
                found = tree.read(path, limit=_FILE)
                if found is None or found.sha256 != sha256:
                    return False
    except (Refusal, OSError):
        return False
    return bool(digests)


def learn_from(root: str, paths: Iterable[str]) -> None:
    """Have the secrets that are written out in files masked from now on."""
    try:
        with Tree(root) as tree:
            for path in dict.fromkeys(paths):
                _read(tree, path, _FILE)
    except OSError:
        pass
