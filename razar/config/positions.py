"""Where things stand in a JSON text: pointers, lines and columns, without recursion and in linear time."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from razar.config.collector import Pointer

__all__ = ["Place", "Position", "Repeated", "Scan", "scan_json"]

#: The pointers asked for, as a tree of their steps.
_Tree = dict[str | int, Any]

#: Repeated keys told of one text.
_TOLD = 1000

# Colons are passed over: what follows a key is its value.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],]|[^\s{}\[\],:"]+', re.DOTALL)


class Position(Struct, frozen=True):
    """A line and a column, both counted from 1, the column in characters."""

    line: int
    column: int


class Place(Struct, frozen=True):
    """Where a value starts, and the key before it (the value itself where there is none)."""

    value: Position
    key: Position


class Repeated(Struct, frozen=True):
    """A key that occurs twice in one object."""

    pointer: Pointer
    first: Position
    again: Position


class Scan(Struct, frozen=True):
    """What a scan found: the places asked for, with those of their parents, and the repeated keys."""

    places: Mapping[Pointer, Place]
    repeated: tuple[Repeated, ...]

    def place(self, pointer: Pointer) -> Place:
        """Return the place of a pointer, or of the nearest parent that exists."""
        while pointer not in self.places and pointer:
            pointer = pointer[:-1]
        return self.places.get(pointer, Place(Position(1, 1), Position(1, 1)))


class _Frame:
    """An object or a list that is open: ``wanted`` is the part of the request inside it, if any."""

    __slots__ = ("index", "key", "key_at", "keys", "pointer", "wanted")

    def __init__(self, pointer: Pointer, wanted: _Tree | None, is_object: bool) -> None:
        self.pointer = pointer
        self.wanted = wanted
        self.keys: dict[str, int] | None = {} if is_object else None
        self.key: str | None = None
        self.key_at = 0
        self.index = 0


def scan_json(text: str, wanted: Iterable[Pointer], *, repeated_keys: bool = True) -> Scan:
    """Find the places of ``wanted`` and the repeated keys in a JSON text that is known to be valid.

    Where it is known that no key is repeated, the scan ends at the last place that is wanted.
    """
    tree, size = _tree(wanted)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(offset: int) -> Position:
        line = bisect_right(starts, offset)
        return Position(line, offset - starts[line - 1] + 1)

    places: dict[Pointer, Place] = {}
    repeated: list[Repeated] = []
    frames: list[_Frame] = []
    for match in _TOKEN.finditer(text):
        token, at = match.group(), match.start()
        frame = frames[-1] if frames else None
        if token == ",":
            if frame is not None:
                frame.index += 1
                frame.key = None
            continue
        if token in "}]":
            frames.pop()
            continue
        if frame is not None and frame.keys is not None and frame.key is None:
            frame.key, frame.key_at = _key(token), at
            first = frame.keys.setdefault(frame.key, at)
            if first != at and len(repeated) < _TOLD:
                repeated.append(Repeated((*frame.pointer, frame.key), position(first), position(at)))
            continue
        pointer: Pointer = ()
        branch: _Tree | None = tree
        key_at = at
        if frame is not None:
            step: str | int = frame.index if frame.key is None else frame.key
            key_at = at if frame.key is None else frame.key_at
            branch = None if frame.wanted is None else frame.wanted.get(step)
            # Repeated keys are told with their pointer, so containers have theirs in any case.
            if branch is not None or token in "{[":
                pointer = (*frame.pointer, step)
        if branch is not None:
            places[pointer] = Place(position(at), position(key_at))
            if len(places) == size and not repeated_keys:
                break
        if token in "{[":
            frames.append(_Frame(pointer, branch, token == "{"))
    return Scan(places, tuple(repeated))


def _tree(wanted: Iterable[Pointer]) -> tuple[_Tree, int]:
    """Return the tree of the pointers and the number of its nodes."""
    root: _Tree = {}
    size = 1
    for pointer in wanted:
        branch = root
        for step in pointer:
            if step not in branch:
                branch[step] = {}
                size += 1
            branch = branch[step]
    return root, size


def _key(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    import json

    text: str = json.loads(token, strict=False)
    return text
