"""Reads the log of one component, rotated files first, and follows it while it is rotated."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LogReader", "instant_of", "parse_since"]

#: Rotated files that may exist: current.log.1 is the newest.
KEPT = 5
CHUNK = 1 << 20
#: Longest line given as one, in bytes; the rest of it counts as the next.
LINE_LIMIT = 1 << 20
#: Seconds that a rotation is waited for; one that takes longer was interrupted by a kill.
ROTATION_TIME = 10.0

_INSTANT = re.compile(
    rb"[\[(]?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d*)?\s?(Z|[+-]\d\d:?\d\d)?(?![\d:])"
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _File(NamedTuple):
    """A rotated file: who it is, wherever it is renamed to, and its size in bytes."""

    identity: tuple[int, int]
    size: int


class LogReader:
    """Gives the lines of ``current.log`` and the files before it, each exactly once.

    The front of the live file is moved into ``current.log.1`` now and then, by renaming it or by
    cutting it off. Positions are kept through that: what has become a rotated file since the last
    look is subtracted from the position.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "current.log")
        self._offset = 0
        self._newest: tuple[int, int] | None = None
        self._seen: tuple[tuple[int, int], int] | None = None
        self._pending: list[tuple[int, int]] = []
        self._partial = b""
        self._rotating_since: float | None = None
        self._live_size = 0
        self._left: int | None = None

    def start(self, lines: int | None = None, since: float = 0.0, *, follow: bool = True) -> None:
        """Begin with the last ``lines`` lines, or all; leave out files last written before ``since``.

        Without ``follow`` the end is where it is now: a component may write faster than we read.
        """
        until = time.monotonic() + ROTATION_TIME
        while not self._try_to_start(lines, since) and time.monotonic() < until:
            time.sleep(0.005)
        if not follow:
            rotated = sum(os.fstat(fd).st_size - offset for fd, offset in self._pending)
            self._left = rotated + max(0, self._live_size - self._offset)

    def _try_to_start(self, lines: int | None, since: float) -> bool:
        rotated = self._rotated()
        if rotated is None:
            return False
        files = []
        try:
            for number in (*range(len(rotated), 0, -1), 0):
                try:
                    files.append(os.open(self._name(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
                except OSError:
                    continue
            if self._rotated() != rotated:
                return False
            self._newest = rotated[0].identity if rotated else None
            live = os.path.exists(self._path)
            first, offset = (0, 0) if lines is None else _tail_start(files, lines)
            for index, fd in enumerate(files):
                begin = offset if index == first else 0
                if live and index == len(files) - 1:
                    self._live_size = os.fstat(fd).st_size
                    self._offset = begin if index >= first else 0
                elif index >= first and os.fstat(fd).st_mtime >= since:
                    self._pending.append((os.dup(fd), begin))
            return True
        finally:
            for fd in files:
                os.close(fd)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are there and have not been given yet, without their line ends."""
        while data := self._read():
            *whole, self._partial = (self._partial + data).split(b"\n")
            yield from whole
            if len(self._partial) > LINE_LIMIT:
                yield self._partial
                self._partial = b""

    def rest(self) -> bytes:
        """Return the last line if it has no end yet, and forget it."""
        rest, self._partial = self._partial, b""
        return rest

    def _read(self) -> bytes:
        data = self._read_more()
        if self._left is None:
            return data
        looks = 0
        while not data and self._left and looks < 3:  # A rotation is no end.
            if self._rotating_since is None:
                looks += 1
            else:
                time.sleep(0.005)
            data = self._read_more()
        data = data[: self._left]
        self._left -= len(data)
        return data

    def _read_more(self) -> bytes:
        while self._pending:
            fd, offset = self._pending[0]
            data = os.pread(fd, CHUNK, offset)
            if data:
                self._pending[0] = (fd, offset + len(data))
                return data
            os.close(fd)
            self._pending.pop(0)
        return self._read_live()

    def _read_live(self) -> bytes:
        try:
            found = os.stat(self._path)
        except OSError:
            return b""
        seen = ((found.st_dev, found.st_ino), found.st_size)
        if seen == self._seen and self._offset == found.st_size:
            return b""
        rotated = self._rotated()
        if rotated is None:
            return b""
        if (rotated[0].identity if rotated else None) != self._newest:
            self._follow_rotation(rotated)
            return self._read_more()
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            if os.fstat(fd).st_size < self._offset:
                self._offset = 0  # Somebody has emptied it.
            data = os.pread(fd, CHUNK, self._offset)
        except OSError:
            return b""
        finally:
            os.close(fd)
        if self._rotated() != rotated:
            return b""  # It was cut under our hands: what was read may be from the wrong place.
        self._seen = seen
        self._offset += len(data)
        return data

    def _follow_rotation(self, rotated: list[_File]) -> None:
        """Find our position again: the live file has lost what the new rotated files hold."""
        identities = [file.identity for file in rotated]
        if self._newest in identities:
            fresh = identities.index(self._newest)
        else:
            fresh = len(rotated)
            if self._newest is not None:
                self._offset = 0  # So many rotations that lines are lost.
        for number in range(fresh, 0, -1):
            size = rotated[number - 1].size
            if self._offset >= size:
                self._offset -= size
                continue
            try:
                fd = os.open(self._name(number), os.O_RDONLY | os.O_CLOEXEC)
                self._pending.append((fd, self._offset))
            except OSError:
                pass  # Rotated away in this instant.
            self._offset = 0
        self._newest = identities[0] if identities else None

    def _rotated(self) -> list[_File] | None:
        """List the rotated files, newest first; None while a rotation is under way."""
        if os.path.exists(f"{self._path}.new"):
            now = time.monotonic()
            if self._rotating_since is None:
                self._rotating_since = now
            if now - self._rotating_since < ROTATION_TIME:
                return None
        else:
            self._rotating_since = None
        files = []
        for number in range(1, KEPT + 1):
            try:
                found = os.stat(self._name(number))
            except OSError:
                break
            files.append(_File((found.st_dev, found.st_ino), found.st_size))
        return files

    def _name(self, number: int) -> str:
        return f"{self._path}.{number}" if number else self._path


def _tail_start(files: list[int], lines: int) -> tuple[int, int]:
    """Find where the last lines begin: (index of the file, offset in it). The newest file is last."""
    sizes = [os.fstat(fd).st_size for fd in files]
    index = max((index for index, size in enumerate(sizes) if size), default=-1)
    if index < 0 or lines == 0:
        return max(0, len(files) - 1), sizes[-1] if sizes else 0
    wanted = lines + (os.pread(files[index], 1, sizes[index] - 1) == b"\n")
    while index >= 0:
        at = sizes[index]
        while at > 0:
            step = min(CHUNK, at)
            at -= step
            data = os.pread(files[index], step, at)
            count = data.count(b"\n")
            if count >= wanted:
                end = len(data)
                for _ in range(wanted):
                    end = data.rindex(b"\n", 0, end)
                return index, at + end + 1
            wanted -= count
        index -= 1
    return 0, 0


def instant_of(line: bytes) -> float | None:
    """Read the time a line begins with, as epoch seconds; one without an offset is UTC."""
    found = _INSTANT.match(line)
    if found is None:
        return None
    day, clock, fraction, offset = (part.decode("ascii") if part else "" for part in found.groups())
    from razar.utils.times import parse_utc

    try:
        return parse_utc(f"{day}T{clock}{offset}") + (float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        return None


def parse_since(text: str) -> float:
    """Read ``10m``, ``2h``, ``1d`` (ago) or an ISO 8601 time; return epoch seconds. Raises ValueError."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return time.time() - float(span[1]) * _SECONDS[span[2]]
    from razar.utils.times import parse_utc

    return parse_utc(text)
