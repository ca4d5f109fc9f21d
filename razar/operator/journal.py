"""Reads the journal for the commands: all segments of it, the last boot, and what is appended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec

from razar.mission_logger import Record, read, segments

__all__ = ["JournalFollower", "last_boot", "read_all"]

_CHUNK = 1 << 20


def read_all(path: str) -> tuple[list[Record], list[str]]:
    """Read every segment, oldest first: the records, and what was wrong, in words."""
    records: list[Record] = []
    problems: list[str] = []
    for segment in segments(path):
        more, faults = read(segment)
        # A segment that was closed between two reads is there under both names.
        last = records[-1].seq if records else -1
        records += [record for record in more if record.seq > last]
        problems += faults
    return records, problems


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
            while self._fd >= 0 and (data := os.read(self._fd, _CHUNK)):
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield from self._decode(lines)
            if not self._reopen():
                return

    def _decode(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            try:
                record = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if record.seq > self._seq:
                self._seq = record.seq
                yield record

    def _reopen(self) -> bool:
        """Go over to the file that has the name now; False if it is the one that is open."""
        try:
            now = os.stat(self._path)
            if self._fd >= 0:
                mine = os.fstat(self._fd)
                if (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino):
                    return False
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._rest = fd, b""
        return True
