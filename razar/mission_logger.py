"""The journal: every event that changed the mission, one JSON line each, before its effects.

Form of ``razar_journal.jsonl`` (schema 1): the first line is ``{"journal":"razar","schema":1}``,
every other one ``{"seq":7,"at":1758412805.1,"boot":"…","jitter":0.25,"event":{"event":"Spawned",…}}``.
``seq`` grows by one per record; a gap means that records were lost to a full disk.

Segments: a file of more than ``SEGMENT`` bytes is closed when the next boot begins, or in the
midst of one if the runtime gave a ``checkpoint``: then the new file begins with a record that has
the mission's ``state``, and repeats in ``event`` how the boot began. So the current file alone is
enough to replay the current boot, and to tell its processes should RAZAR be killed.
``razar_journal.jsonl.1`` to ``.3`` are the older segments; what is older is deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache

import msgspec
from msgspec import Struct

from razar.engine.events import BootStarted, Event
from razar.engine.state import MissionState
from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.line_file import LineFile

__all__ = ["SCHEMA", "SEGMENT", "Journal", "Record", "last_boot", "read", "segments"]

SCHEMA = 1
#: Bytes after which a new file is begun when there is an occasion.
SEGMENT = 8 * 1024 * 1024
#: Older segments that are kept.
KEPT = 3
#: Longest line that can be a record, in bytes.
LINE_LIMIT = 16 * 1024 * 1024

_HEADER = b'{"journal":"razar","schema":%d}\n' % SCHEMA


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: an event, or the state at the beginning of a segment. ``at`` is epoch seconds.

    Beside a ``state``, ``event`` is the BootStarted of the boot that goes on, and happened before.

    ``jitter`` is the random number that the engine was given along with the event.
    """

    seq: int
    at: float
    boot: str = ""
    jitter: float = 0.0
    event: Event | None = None
    state: MissionState | None = None


class _Header(Struct, frozen=True):
    journal: str
    schema: int


class _Sequence(Struct):
    seq: int


@cache
def _decoder() -> msgspec.json.Decoder[Record]:
    # Made when first needed: it takes 2 ms, and a boot that finds no journal never decodes.
    return msgspec.json.Decoder(Record)


class Journal:
    """Appends records; nothing that happens to the disk is raised into the mission.

    ``append`` has written the line before it returns, so a killed RAZAR loses nothing; ``sync``
    makes what was written survive a power cut too. A write that fails is told once through
    ``report``; the lines are kept in memory and written with the next ones. The file is made by the
    first ``append``. ``checkpoint`` returns the state as it is before the event that is being
    appended, or None while there is none.
    """

    def __init__(
        self,
        path: str,
        *,
        report: Callable[[str], None] | None = None,
        checkpoint: Callable[[], MissionState | None] | None = None,
        segment: int = SEGMENT,
    ) -> None:
        self.path = path
        self.boot = ""
        self._report = report
        self._checkpoint = checkpoint
        self._segment = segment
        self._retry_at = segment
        self._seq = -1
        self._started: BootStarted | None = None
        #: What is being appended.
        self._next: Record | None = None
        self._dirty = False
        self._file = LineFile(path, header=self._head, whole=_is_record, report=report)

    def append(self, event: Event, at: float, jitter: float = 0.0) -> int:
        """Write one event and return its ``seq``. A BootStarted sets the boot of what follows."""
        if self._seq < 0:
            self._begin(at)
        if isinstance(event, BootStarted):
            self.boot = event.boot_id
            self._started = event
        if self._file.size > self._retry_at:
            self._turn_over(event, at)
        self._seq += 1
        record = Record(seq=self._seq, at=at, boot=self.boot, jitter=jitter, event=event)
        self._next = record
        self._file.append(_encode(record))
        self._next = None
        self._dirty = True
        return self._seq

    async def sync(self) -> None:
        """Bring what was appended to the disk, in a worker thread."""
        import asyncio

        fd = self._begin_sync()
        if fd is not None:
            self._end_sync(await asyncio.get_running_loop().run_in_executor(None, _fsync, fd))

    def sync_now(self) -> None:
        """The same, here and now."""
        fd = self._begin_sync()
        if fd is not None:
            self._end_sync(_fsync(fd))

    def close(self) -> None:
        """Write and sync what is left, and release the file."""
        self.sync_now()
        self._file.close()

    def _begin_sync(self) -> int | None:
        if not self._dirty or not self._file.flush():
            return None
        try:
            fd = self._file.duplicate()
        except OSError as fault:
            self._tell(f"{self.path} could not be brought to the disk: {files.why(fault)}")
            return None
        self._dirty = False
        return fd

    def _end_sync(self, fault: str | None) -> None:
        if fault is not None:
            self._dirty = True
            self._tell(f"{self.path} could not be brought to the disk: {fault}")

    def _begin(self, at: float) -> None:
        """Continue the numbering of the file that is there, or set aside one that is none of ours."""
        self._seq = 0
        try:
            kind, self._seq = _examine(self.path)
        except OSError:
            return
        if kind == "foreign":
            aside = files.set_aside(self.path, at)
            self._tell(f"{self.path} is not a journal that this RAZAR can continue; set aside as {aside}")

    def _head(self) -> bytes:
        """How a new file begins: in the middle of a boot, whose file somebody took away, with its state so far."""
        record = self._next
        if record is None or isinstance(record.event, BootStarted) or self._file.waiting > 1:
            return _HEADER  # The state would be later than lines that come after it.
        return _HEADER + self._so_far(record.seq - 1, record.at)

    def _so_far(self, seq: int, at: float) -> bytes:
        """The record that holds the boot up to here; nothing while there is no state."""
        state = self._checkpoint() if self._checkpoint is not None else None
        if state is None:
            return b""
        return _encode(Record(seq=seq, at=at, boot=self.boot, event=self._started, state=state))

    def _turn_over(self, event: Event, at: float) -> None:
        """Begin a new segment, if this is an occasion. The current name exists at every instant."""
        head = _HEADER
        seq = self._seq
        if not isinstance(event, BootStarted):
            seq += 1
            so_far = self._so_far(seq, at)
            if not so_far:
                return
            head += so_far
        if not self._file.flush():
            return
        try:
            for number in range(KEPT - 1, 0, -1):
                if os.path.exists(f"{self.path}.{number}"):
                    os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            os.link(self.path, f"{self.path}.1")
            try:
                files.replace(self.path, head)
            except OSError:
                os.unlink(f"{self.path}.1")
                raise
        except OSError as fault:
            self._retry_at = self._file.size + self._segment
            self._tell(f"{self.path} could not be rotated and keeps growing: {files.why(fault)}")
            return
        self._file.close()
        self._seq = seq
        self._retry_at = self._segment

    def _tell(self, message: str) -> None:
        if self._report is not None:
            self._report(message)


def read(path: str) -> tuple[list[Record], list[str]]:
    """Read one segment: its records in order, and what was wrong with it, in words.

    Whatever can be read is returned: a torn last line is dropped, a line that is no record is
    skipped, a missing file gives two empty lists.
    """
    records: list[Record] = []
    problems: list[str] = []
    try:
        for number, line, ended in files.iterate_lines(path, LINE_LIMIT):
            if number == 1:
                fault = _check_header(line)
                if fault is None:
                    continue
                problems.append(f"{path}:1: {fault}")
                if fault.startswith("written by a newer"):
                    break
            record = _decode(line)
            if record is None:
                what = "is no journal record; skipped" if ended else "was not finished; dropped"
                if line.strip(b" \0\r") or not ended:
                    problems.append(f"{path}:{number}: the line {what}")
                continue
            if records and record.seq != records[-1].seq + 1:
                gap = f"record {record.seq} follows {records[-1].seq}; what was between them is lost"
                problems.append(f"{path}:{number}: {gap}")
            records.append(record)
    except FileNotFoundError:
        pass
    except OSError as fault:
        problems.append(f"{path} cannot be read: {files.why(fault)}")
    return records, problems


def last_boot(records: list[Record]) -> list[Record]:
    """The records of the latest boot, from its BootStarted or its checkpoint on."""
    for index in range(len(records) - 1, -1, -1):
        if isinstance(records[index].event, BootStarted) or records[index].state is not None:
            return records[index:]
    return []


def segments(path: str) -> list[str]:
    """The files of a journal that exist, oldest first."""
    names = [f"{path}.{number}" for number in range(KEPT, 0, -1)] + [path]
    return [name for name in names if os.path.exists(name)]


def _encode(record: Record) -> bytes:
    return encode_json(record) + b"\n"


def _decode(line: bytes) -> Record | None:
    try:
        record = _decoder().decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if record.event is None and record.state is None else record


def _is_record(line: bytes) -> bool:
    return _decode(line) is not None or line + b"\n" == _HEADER


def _check_header(line: bytes) -> str | None:
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 'the first line is not {"journal":"razar",…}'
    if header.journal != "razar":
        return f"a journal of {header.journal[:40]!r}, not of RAZAR"
    if header.schema > SCHEMA:
        return f"written by a newer RAZAR (schema {header.schema}; this one reads up to {SCHEMA})"
    return None


def _examine(path: str) -> tuple[str, int]:
    """Whether a file is ``ours`` or ``foreign``, and its last ``seq``. Raises OSError."""
    if os.stat(path).st_size == 0:
        return "ours", 0
    with open(path, "rb") as file:
        first = file.readline(LINE_LIMIT)
        if first.endswith(b"\n") and _check_header(first) is not None:
            return "foreign", 0
        file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
        tail = file.read().splitlines()
    last = max(map(_sequence, tail), default=0)
    if not last:
        last = max((_sequence(line) for _, line, _ in files.iterate_lines(path, LINE_LIMIT)), default=0)
    return "ours", last


def _sequence(line: bytes) -> int:
    try:
        return msgspec.json.decode(line, type=_Sequence).seq
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _fsync(fd: int) -> str | None:
    try:
        os.fsync(fd)
    except OSError as fault:
        return files.why(fault)
    finally:
        os.close(fd)
    return None


if __name__ == "__main__":
    import sys

    from razar.projections.timeline import main
    from razar.utils.pipes import until_closed

    sys.exit(until_closed(lambda: main(sys.argv[1:], now=time.time())))
