"""Every line of a log is read once, whatever happens to the file meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from razar.launchers import logs
from razar.operator.logs import LogReader, instant_of, parse_since


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, text: str, number: int = 0) -> None:
    with open(folder / ("current.log" + (f".{number}" if number else "")), "a") as file:
        file.write(text)


def started(folder: Path, lines: int | None = None, since: float = 0.0) -> LogReader:
    reader = LogReader(str(folder))
    reader.start(lines, since)
    return reader


def texts(reader: LogReader) -> list[str]:
    return [line.decode() for line in reader.lines()]


def test_rotated_files_come_first_oldest_first(folder: Path) -> None:
    write(folder, "one\n", 2)
    write(folder, "two\n", 1)
    write(folder, "three\nfo")
    reader = started(folder)
    assert texts(reader) == ["one", "two", "three"]
    assert reader.rest() == b"fo"


@pytest.mark.parametrize("wanted", range(9))
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_lines_are_found_across_files(folder: Path, wanted: int, end: str) -> None:
    every = [f"line {number}" for number in range(1, 8)]
    write(folder, "\n".join(every[:3]) + "\n", 2)
    write(folder, "\n".join(every[3:5]) + "\n", 1)
    write(folder, "\n".join(every[5:]) + end)
    reader = started(folder, wanted)
    found = texts(reader)
    if rest := reader.rest():
        found.append(rest.decode())
    assert found == (every[-wanted:] if wanted else [])


def test_the_last_lines_of_an_empty_live_file_are_in_the_one_before(folder: Path) -> None:
    write(folder, "one\ntwo\n", 1)
    write(folder, "")
    assert texts(started(folder, 1)) == ["two"]


def test_the_last_lines_of_nothing(folder: Path) -> None:
    write(folder, "")
    assert texts(started(folder, 3)) == []


def test_a_line_beyond_the_limit_is_given_in_parts(folder: Path) -> None:
    write(folder, "a" * 3_000_000 + "\n" + "b" * 3_000_000 + "\n")
    parts = list(started(folder, 1).lines())
    assert len(parts) > 1
    assert b"".join(parts) == b"b" * 3_000_000


def test_files_older_than_asked_for_are_left_out(folder: Path) -> None:
    write(folder, "old\n", 1)
    os.utime(folder / "current.log.1", (1000, 1000))
    write(folder, "new\n")
    assert texts(started(folder, since=2000.0)) == ["new"]


def test_what_is_appended_is_followed(folder: Path) -> None:
    reader = started(folder)
    assert texts(reader) == []
    write(folder, "one\nhalf")
    assert texts(reader) == ["one"]
    write(folder, " done\n")
    assert texts(reader) == ["half done"]
    assert texts(reader) == []


def test_a_renamed_file_is_read_to_its_end_before_the_next(folder: Path) -> None:
    write(folder, "one\n")
    reader = started(folder)
    assert texts(reader) == ["one"]
    write(folder, "two\n")
    os.rename(folder / "current.log", folder / "current.log.1")
    write(folder, "three\n")
    assert texts(reader) == ["two", "three"]


def test_several_rotations_between_two_looks_lose_nothing(folder: Path) -> None:
    write(folder, "0\n")
    reader = started(folder)
    assert texts(reader) == ["0"]
    for number in range(1, 4):
        write(folder, f"{number}\n")
        for old in (3, 2, 1):
            if (folder / f"current.log.{old}").exists():
                os.rename(folder / f"current.log.{old}", folder / f"current.log.{old + 1}")
        os.rename(folder / "current.log", folder / "current.log.1")
    write(folder, "4\n")
    assert texts(reader) == ["1", "2", "3", "4"]


def test_the_launchers_own_rotation_loses_and_repeats_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front is cut off the live file while it grows; where the disk cannot do that, nothing moves."""
    monkeypatch.setattr(logs, "STAY", 4096)
    file = logs.LogFile(str(folder / "current.log"))
    reader, written, read = started(folder), 0, []
    for rotation in range(8):
        more = [f"line {number}" for number in range(written, written + (997 if rotation % 2 else 2500))]
        write(folder, "".join(f"{line}\n" for line in more))
        written += len(more)
        if rotation % 3:
            read += texts(reader)
        file.rotate()
    read += texts(reader)
    assert read == [f"line {number}" for number in range(written)]


@pytest.mark.parametrize("lines", [None, 2])
def test_without_following_what_is_written_meanwhile_is_left_out(folder: Path, lines: int | None) -> None:
    """A component may write faster than it can be read."""
    write(folder, "one\n", 1)
    write(folder, "two\nthree\n")
    reader = LogReader(str(folder))
    reader.start(lines, follow=False)
    found = []
    for line in reader.lines():
        found.append(line.decode())
        write(folder, "more\n" * 1000)
        os.rename(folder / "current.log.1", folder / "current.log.2")
        os.rename(folder / "current.log", folder / "current.log.1")
        write(folder, "and more\n")
    assert found == ["one", "two", "three"][-(lines or 3) :]
    assert reader.rest() == b""


def test_a_rotation_is_waited_for_until_all_is_read(folder: Path) -> None:
    write(folder, "one\ntwo\n")
    reader = LogReader(str(folder))
    reader.start(follow=False)
    (folder / "current.log.new").write_text("one\n")

    def finish() -> None:
        (folder / "current.log").write_text("two\n")
        os.rename(folder / "current.log.new", folder / "current.log.1")

    timer = threading.Timer(0.05, finish)
    timer.start()
    assert texts(reader) == ["one", "two"]
    timer.join()


def test_nothing_is_read_while_a_rotation_is_under_way(folder: Path) -> None:
    write(folder, "one\n")
    reader = started(folder)
    assert texts(reader) == ["one"]
    write(folder, "two\n")
    (folder / "current.log.new").touch()
    assert texts(reader) == []
    (folder / "current.log.new").unlink()
    assert texts(reader) == ["two"]


def test_a_rotation_that_was_killed_does_not_stop_the_reader(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("razar.operator.logs.ROTATION_TIME", 0.02)
    write(folder, "one\n")
    (folder / "current.log.new").touch()
    assert texts(started(folder)) == ["one"]


def test_an_emptied_file_is_read_from_its_beginning(folder: Path) -> None:
    write(folder, "one, and quite long\n")
    reader = started(folder)
    assert len(texts(reader)) == 1
    os.truncate(folder / "current.log", 0)
    write(folder, "two\n")
    assert texts(reader) == ["two"]


def test_a_log_that_is_not_there_yet(folder: Path) -> None:
    reader = started(folder / "later", 10)
    assert texts(reader) == []
    (folder / "later").mkdir()
    write(folder / "later", "one\n")
    assert texts(reader) == ["one"]


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b"1970-01-01T00:01:40Z started", 100.0),
        (b"[1970-01-01T00:01:40.250Z] INFO", 100.25),
        (b"1970-01-01 00:01:40,5 INFO", 100.5),
        (b"1970-01-01T01:01:40+01:00 x", 100.0),
        (b"1970-01-01T01:01:40+0100 x", 100.0),
        (b"1970-13-01T00:01:40Z x", None),
        (b"1970-01-01T00:01:40:99 x", None),
        (b"hello", None),
        (b"", None),
    ],
)
def test_the_time_a_line_begins_with(line: bytes, at: float | None) -> None:
    assert instant_of(line) == at


def test_since_takes_spans_and_times() -> None:
    assert parse_since("1970-01-01T00:01:40Z") == 100.0
    assert parse_since("2h") < parse_since("1h") < parse_since("1s")
    for text in ("", "soon", "5 parsecs", "-1m"):
        with pytest.raises(ValueError):
            parse_since(text)
