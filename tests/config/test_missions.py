"""Where a mission is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from razar.config.load import find_mission

from .support import component, only_fault, write


def mission(folder: Path, name: str, file: str) -> str:
    (folder / file).parent.mkdir(exist_ok=True)
    return write(folder, {"mission": name, "components": [component()]}, file)


def test_a_file_that_is_named_wins(tmp_path: Path) -> None:
    mission(tmp_path, "demo", "boot_config.json")
    other = mission(tmp_path, "demo", "other.json")
    assert find_mission("demo", config=other, folder=str(tmp_path)) == other
    assert find_mission(None, config=other, folder=str(tmp_path)) == other


def test_its_own_file_comes_before_the_common_one(tmp_path: Path) -> None:
    common = mission(tmp_path, "demo", "boot_config.json")
    assert find_mission("demo", config=None, folder=str(tmp_path)) == common
    assert find_mission(None, config=None, folder=str(tmp_path)) == common
    own = mission(tmp_path, "demo", "missions/demo.json")
    assert find_mission("demo", config=None, folder=str(tmp_path)) == own


def test_the_missions_there_are_get_named(tmp_path: Path) -> None:
    mission(tmp_path, "demo", "boot_config.json")
    mission(tmp_path, "night", "missions/night.json")
    (tmp_path / "missions" / "notes.txt").touch()
    fault = only_fault(lambda: find_mission("nigth", config=None, folder=str(tmp_path)))
    assert fault.found == 'no mission "nigth"'
    assert fault.expected == 'one of "demo" (boot_config.json), "night" (missions/night.json)'
    assert fault.hint == 'did you mean "night"?'


def test_no_mission_at_all(tmp_path: Path) -> None:
    fault = only_fault(lambda: find_mission("demo", config=None, folder=str(tmp_path)))
    assert "missions/demo.json" in fault.expected
    assert "boot_config.json" in fault.expected
    path = str(tmp_path / "x.json")
    assert only_fault(lambda: find_mission(None, config=path, folder="/")).file == path
    assert only_fault(lambda: find_mission("demo", config=path, folder="/")).file == path
    assert only_fault(lambda: find_mission(None, config=None, folder=str(tmp_path))).found == "no such file"


@pytest.mark.parametrize("file", ["other.json", "missions/demo.json"])
def test_the_mission_in_the_file_must_be_the_one_asked_for(tmp_path: Path, file: str) -> None:
    path = mission(tmp_path, "night", file)
    config = path if file == "other.json" else None
    fault = only_fault(lambda: find_mission("demo", config=config, folder=str(tmp_path)))
    assert (fault.file, fault.found, fault.expected) == (path, 'the mission "night"', 'the mission "demo"')


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x" * 64, "a\n", "a\0"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    assert only_fault(lambda: find_mission(name, config=None, folder=str(tmp_path))).file == "--mission"


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 5000, b"\xff", b'{"components": []}'])
def test_a_file_that_says_nothing_is_left_to_the_loader(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, data)
    assert find_mission("demo", config=None, folder=str(tmp_path)) == path
