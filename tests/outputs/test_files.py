"""Whole-file replacement, appended lines, rotation and setting aside."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from razar.utils import files
from razar.utils.line_file import LineFile

from .conftest import SmallDisk


def test_replace_leaves_the_new_content_with_its_mode_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    before = os.umask(0o077)
    try:
        files.replace(str(path), b"one")
        files.replace(str(path), b"two")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["state.json"]


def test_replace_can_keep_the_mode_of_the_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "razar_env.yaml"
    path.write_text("old")
    path.chmod(0o604)
    files.replace(str(path), b"new", mode=None)
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(small_disk: SmallDisk) -> None:
    path = small_disk.path / "state.json"
    files.replace(str(path), b"old")
    small_disk.fill()
    with pytest.raises(OSError) as caught:
        files.replace(str(path), b"new" * 10_000)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(small_disk.path)) == ["ballast", "state.json"]


def test_sweep_removes_only_leftovers_of_that_file(tmp_path: Path) -> None:
    for name in (".a.json.77-1.tmp", ".b.json.77-1.tmp", "a.json", ".a.json.keep"):
        (tmp_path / name).touch()
    files.sweep(str(tmp_path / "a.json"))
    assert sorted(os.listdir(tmp_path)) == [".a.json.keep", ".b.json.77-1.tmp", "a.json"]


def test_append_line_ends_a_torn_line_first(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    files.append_line(str(path), b"one")
    with open(path, "ab") as file:
        file.write(b'{"torn')
    files.append_line(str(path), b"two")
    assert path.read_bytes() == b'one\n{"torn\ntwo\n'
    assert path.stat().st_mode & 0o777 == 0o640


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in ("1", "2", "3", "4"):
        path.write_text(text)
        files.rotate(str(path), 2)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"log.1": "4", "log.2": "3"}


def test_set_aside_never_overwrites_what_was_set_aside_before(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    names = []
    for text in ("a", "b"):
        path.write_text(text)
        aside = files.set_aside(str(path), 5.0)
        assert aside is not None
        names.append(os.path.basename(aside))
    assert names == ["state.json.corrupt-1970-01-01T00-00-05Z", "state.json.corrupt-1970-01-01T00-00-05Z-2"]
    assert files.set_aside(str(path), 5.0) is None


def test_lines_are_cut_at_the_limit_and_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"short\n" + b"x" * 100 + b"\nlast")
    assert list(files.iterate_lines(str(path), 10)) == [
        (1, b"short", True),
        (2, b"x" * 10, True),
        (3, b"last", False),
    ]


@pytest.mark.parametrize(
    "read", [lambda p: list(files.iterate_lines(p, 10)), lambda p: files.read_limited(p, 10)]
)
def test_a_pipe_in_the_place_of_a_file_is_an_error_not_a_hang(tmp_path: Path, read: object) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        read(str(path))  # type: ignore[operator]


def test_read_limited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_limited(str(path), 5) == b"12345"
    assert files.read_limited(str(path), 4) is None


def test_a_full_disk_is_told_once_and_the_lines_follow_when_there_is_room(small_disk: SmallDisk) -> None:
    path = small_disk.path / "lines"
    told: list[str] = []
    lines = LineFile(str(path), header=lambda: b"header\n", report=told.append)
    assert lines.append(b"one\n")
    small_disk.fill()
    for number in range(20):
        assert not lines.append(b"%d" % number + b"x" * 5000 + b"\n")
    assert path.read_bytes().startswith(b"header\none\n")
    assert path.read_bytes().endswith(b"\n") and b"0xxx" not in path.read_bytes()
    assert len(told) == 1 and "No space left on device" in told[0]
    small_disk.free()
    assert lines.append(b"last\n")
    content = path.read_bytes().splitlines()
    assert [line.rstrip(b"x") for line in content] == [
        b"header",
        b"one",
        *(b"%d" % n for n in range(20)),
        b"last",
    ]
    assert told[1:] == [f"{path} is written again"]


def test_lines_beyond_the_backlog_are_counted_as_lost(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "logs"
    lines = LineFile(str(folder / "lines"), report=told.append, backlog=30)
    for number in range(6):
        lines.append(b"number %d\n" % number)
    assert lines.lost == 3
    folder.mkdir()
    assert lines.flush()
    assert (folder / "lines").read_bytes() == b"number 3\nnumber 4\nnumber 5\n"
    assert told[-1].endswith("is written again; 3 lines were lost")


def test_a_removed_file_is_begun_anew_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = LineFile(str(path), header=lambda: b"header\n")
    lines.append(b"one\n")
    path.rename(tmp_path / "moved")
    lines.append(b"two\n")
    assert path.read_bytes() == b"header\ntwo\n"


@pytest.mark.parametrize(
    ("whole", "expected"), [(True, b"one\n{torn\nnext\n"), (False, b"one\nnext\n")], ids=["kept", "cut"]
)
def test_a_torn_last_line_is_kept_or_cut_as_its_owner_decides(
    tmp_path: Path, whole: bool, expected: bytes
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\n{torn")
    seen: list[bytes] = []

    def decide(line: bytes) -> bool:
        seen.append(line)
        return whole

    LineFile(str(path), whole=decide).append(b"next\n")
    assert seen == [b"{torn"]
    assert path.read_bytes() == expected


def test_a_pipe_that_nobody_empties_holds_nobody_up(tmp_path: Path) -> None:
    """A log may be linked to the output of a container."""
    path = tmp_path / "lines"
    os.mkfifo(path)
    told: list[str] = []
    lines = LineFile(str(path), report=told.append)
    written = 0
    while lines.append(b"x" * 999 + b"\n"):
        written += 1
        assert written < 2000
    assert len(told) == 1 and "cannot be written" in told[0]
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    while len(os.read(reader, 1 << 20)) == 1 << 20:
        pass
    assert lines.append(b"last\n") and len(told) == 2
    assert os.read(reader, 1 << 20).endswith(b"\nlast\n")
    lines.close()
    os.close(reader)
