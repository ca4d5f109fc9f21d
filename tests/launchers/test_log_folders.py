"""Folders and logs that are made ahead of the launches: modes, what is there already, what cannot be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from razar.launchers.log_folders import make_ready
from razar.launchers.logs import log_file
from tests.support.waiting import until_sync


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def paths(folder: Path) -> list[Path]:
    return [folder / "components" / f"c-{number}" / "current.log" for number in range(20)]


@pytest.mark.parametrize(("umask", "folder", "file"), [(0o022, 0o750, 0o640), (0o077, 0o700, 0o640)])
def test_modes(umask: int, folder: int, file: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        make_ready(map(str, paths(tmp_path)))
    finally:
        os.umask(before)
    until_sync(lambda: all(path.exists() for path in paths(tmp_path)))
    assert {mode(path.parent) for path in paths(tmp_path)} == {folder}
    assert {mode(path) for path in paths(tmp_path)} == {file}
    assert mode(tmp_path / "components") == folder


def test_what_is_there_stays_and_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    first, second, *rest = paths(tmp_path)
    first.parent.mkdir(parents=True)
    first.write_text("from the last boot\n")
    second.parent.mkdir()
    os.mkfifo(second)
    make_ready(map(str, paths(tmp_path)))
    until_sync(lambda: all(path.exists() for path in rest))
    assert first.read_text() == "from the last boot\n"
    assert stat.S_ISFIFO(second.stat().st_mode)


def test_a_launch_makes_what_could_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "components").write_text("in the way")
    make_ready(map(str, paths(tmp_path)))
    (tmp_path / "components").unlink()
    fd, position = log_file(str(paths(tmp_path)[0])).open()
    os.close(fd)
    assert position == 0
