"""Gathers the faults of one file by pointer; lines and columns are looked up once, at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from razar.config.faults import ConfigurationError, Fault, Problem

if TYPE_CHECKING:
    from razar.config.positions import Scan

__all__ = ["Collector", "Pointer"]

#: A place in a decoded value: keys and indices from the root.
Pointer = tuple[str | int, ...]

#: Faults kept for one file. A file with more is not the file that was meant.
_KEPT = 1000
#: Names compared with misspelt ones for one file; each costs some microseconds.
_COMPARED = 50_000


class _Entry:
    __slots__ = ("at", "first", "key", "problem")

    def __init__(self, at: Pointer, key: bool, problem: Problem, first: Pointer | None) -> None:
        self.at = at
        self.key = key
        self.problem = problem
        self.first = first


class Collector:
    """The faults found so far in ``file``."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._entries: list[_Entry] = []
        self._elsewhere: list[Fault] = []
        self._compared = 0

    @property
    def full(self) -> bool:
        """Whether further faults would not be kept."""
        return len(self._entries) >= _KEPT

    def __bool__(self) -> bool:
        return bool(self._entries or self._elsewhere)

    def add(
        self,
        at: Pointer,
        found: str,
        expected: str,
        hint: str | None = None,
        *,
        key: bool = False,
        first: Pointer | None = None,
    ) -> None:
        """Note a fault of the value at a pointer, or of its ``key``.

        ``first`` is where the same occurs before.
        """
        self.add_problem(at, Problem(found, expected, hint), key=key, first=first)

    def add_problem(
        self, at: Pointer, problem: Problem, *, key: bool = False, first: Pointer | None = None
    ) -> None:
        """Note a problem as a fault of the value at a pointer."""
        if not self.full:
            self._entries.append(_Entry(at, key, problem, first))

    def within(self, at: Pointer) -> bool:
        """Tell whether a fault at a pointer or below it has been noted."""
        return any(entry.at[: len(at)] == at for entry in self._entries)

    def add_elsewhere(self, faults: Iterable[Fault]) -> None:
        """Take over faults of another file that this one names."""
        self._elsewhere.extend(faults)

    def suggest(self, name: str, names: Collection[str]) -> str | None:
        """Return a hint with the name nearest to one that is not known, if one is near."""
        self._compared += len(names)
        if len(name) <= 100 and self._compared <= _COMPARED:
            from difflib import get_close_matches

            near = get_close_matches(name, names, n=1)
            if near:
                return f'did you mean "{near[0]}"?'
        return None

    def error(self, locate: Callable[[Iterable[Pointer]], Scan]) -> ConfigurationError:
        """Make one error of everything noted and of the keys that are repeated, in the order of the file."""
        wanted: list[Pointer] = []
        for entry in self._entries:
            wanted.append(entry.at)
            if entry.first is not None:
                wanted.append(entry.first)
        scan = locate(wanted)
        faults = [self._fault(entry, scan) for entry in self._entries]
        faults.extend(self._repeated(scan))
        faults.sort(key=lambda fault: (fault.line or 0, fault.column or 0))
        return ConfigurationError([*faults, *self._elsewhere])

    def _fault(self, entry: _Entry, scan: Scan) -> Fault:
        place = scan.place(entry.at)
        position = place.key if entry.key else place.value
        hint = entry.problem.hint
        if entry.first is not None:
            hint = f"the first is on line {scan.place(entry.first).value.line}"
        return Fault(
            file=self.file,
            line=position.line,
            column=position.column,
            pointer=_text(entry.at),
            found=entry.problem.found,
            expected=entry.problem.expected,
            hint=hint,
        )

    def _repeated(self, scan: Scan) -> Sequence[Fault]:
        return [
            Fault(
                file=self.file,
                line=repeated.again.line,
                column=repeated.again.column,
                pointer=_text(repeated.pointer),
                found="the same key again",
                expected="each key once in an object",
                hint=f"the first is on line {repeated.first.line}",
            )
            for repeated in scan.repeated
        ]


def _text(pointer: Pointer) -> str:
    """Write a pointer as RFC 6901 does."""
    return "".join(["/" + str(step).replace("~", "~0").replace("/", "~1") for step in pointer])
