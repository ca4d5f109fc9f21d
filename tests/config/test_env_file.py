"""Files of variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from razar.config.env_file import load_env_file

from .support import component, faults_of, load, write


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("  A = 1  ", "1"),
        ("export A=1", "1"),
        ("A=", ""),
        ("A=x y", "x y"),
        ("A=x # comment", "x"),
        ("A=x#y", "x#y"),
        ("A=#x", ""),
        ("A='x # y' # z", "x # y"),
        ("A='a\\n$B'", "a\\n$B"),
        ('A="a\\n\\t\\"b\\\\ ${B}"', 'a\n\t"b\\ ${B}'),
        ("A=b=c", "b=c"),
        ("A=it's", "it's"),
        ("A=1\r", "1"),
        ("A=0\nA=1", "1"),
        ("\ufeffA=1", "1"),
        ("# c\n\nA=é", "é"),
    ],
)
def test_values(tmp_path: Path, line: str, value: str) -> None:
    assert load_env_file(write(tmp_path, line, "vars")) == {"A": value}


def test_faults_have_lines_and_no_values(tmp_path: Path) -> None:
    text = 'GOOD=1\n  hunter2\n1A=hunter2\nB=\'hunter2\nC="hunter2" hunter2\nD=hunter2\0\nEND=1\n'
    path = write(tmp_path, text, "vars")
    faults = faults_of(lambda: load_env_file(path))
    assert [(f.line, f.column) for f in faults] == [(2, 3), (3, 1), (4, 1), (5, 1), (6, 1)]
    assert all(f.file == path for f in faults)
    assert "hunter2" not in "".join(str(f) for f in faults)


@pytest.mark.parametrize("data", [b"A=\xff", b"A=" + b"x" * 1024 * 1024])
def test_no_text_or_too_much_of_it(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, data, "vars")
    assert faults_of(lambda: load_env_file(path))[0].file == path


def test_its_faults_stand_beside_those_of_the_mission(tmp_path: Path) -> None:
    path = write(tmp_path, "oops", "vars")
    faults = faults_of(lambda: load(tmp_path, component(env_file="vars", retries=-1)))
    assert [Path(f.file).name for f in faults] == ["boot_config.json", "vars"]
    assert faults[1].file == path


def test_a_file_that_several_name_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, "oops", "vars")
    several = [component(id=id, env_file="vars") for id in "abc"]
    assert len(faults_of(lambda: load(tmp_path, *several))) == 1
