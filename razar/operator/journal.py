"""Reads the journal for the commands: all segments of it, the last boot, and what is appended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec

from razar.mission_logger import Record, read, segments

__all__ = ["JournalFollower", "last_boot", "read_all"]

_CHUNK = 1 << 20
#: Readings of a journal whose segments change under them.
_ATTEMPTS = 5


def read_all(path: str) -> tuple[list[Record], list[str]]:
    """Read every segment, oldest first: the records, and what was wrong, in words.

    A segment that is closed meanwhile would be read twice or not at all, so that is noticed.
    """
    records: list[Record] = []
    problems: list[str] = []
    for _ in range(_ATTEMPTS):
        before = _identities(path)
        parts = [read(segment) for segment in segments(path)]
        records = [record for part, _ in parts for record in part]
        problems = [problem for _, part in parts for problem in part]
        if _identities(path) == before:
            break
    return records, problems


def _identities(path: str) -> list[tuple[int, int]]:
    found = []
    for segment in segments(path):
        try:
            status = os.stat(segment)
        except OSError:
            continue
        found.append((status.st_dev, status.st_ino))
    return found


def last_boot(records: Sequence[Record]) -> list[Record]:
    """Return the records of the newest boot, whatever segments they were in."""
    return [record for record in records if record.boot == records[-1].boot] if records else []


class JournalFollower:
    """Gives the records that are appended, across the beginning of a new segment."""

    def __init__(self, path: str, after: int) -> None:
        self._path = path
        self._seq = after
        self._fd = -1
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Record)

    def records(self) -> Iterator[Record]:
        """Yield what is new. A line that is no record, or not finished yet, is passed over."""
        while True:
            yield from self._read()
            fd = self._next()
            if fd < 0:
                return
            # Nothing is appended any more to a file that has lost its name; this is the rest of it.
            yield from self._read()
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._rest = fd, b""

    def _read(self) -> Iterator[Record]:
        while self._fd >= 0 and (data := os.read(self._fd, _CHUNK)):
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from self._decode(lines)

    def _decode(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            try:
                record = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if record.seq > self._seq:
                self._seq = record.seq
                yield record

    def _next(self) -> int:
        """Open the file that has the name now; -1 if it is the one that is open, or if there is none."""
        try:
            if self._fd >= 0:
                mine, now = os.fstat(self._fd), os.stat(self._path)
                if (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino):
                    return -1
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return -1
