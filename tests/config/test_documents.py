"""Files that are no JSON, or no files: one clear fault each, quickly."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from razar.config.document import MAX_BYTES, MAX_DEPTH
from razar.config.faults import ConfigurationError
from razar.config.load import load_mission

from .support import component, only_fault, write


def fault_in(folder: Path, data: bytes) -> tuple[int | None, int | None, str]:
    path = write(folder, data)
    fault = only_fault(lambda: load_mission(path, environ={}))
    assert fault.file == path
    assert fault.expected
    return fault.line, fault.column, fault.found


@pytest.mark.parametrize(
    ("data", "place", "found"),
    [
        (b"", None, "an empty file"),
        (b" \n\t", None, "an empty file"),
        (b'\xef\xbb\xbf{"mission": "demo"}', (1, 1), "a byte order mark"),
        ('{"mission": "demo"}'.encode("utf-16"), (1, 1), "a byte order mark"),
        (b'{"mission":\n "de\0mo"}', (2, 5), "a NUL byte"),
        ('{"é": "'.encode() + b'\xff"}', (1, 8), "the byte 0xff"),
        (b'{"mission": "demo", "components": [', (1, 36), "the end of the file"),
        (b'{"mission": "demo', (1, 13), "a text without an end"),
        # Python 3.13 and later name the comma instead.
        (b'{"mission": "demo",}', *(((1, 20), '"}"') if sys.version_info < (3, 13) else ((1, 19), '","'))),
        (b"{'mission': 'demo'}", (1, 2), '"\'"'),
        (b'// no\n{"mission": "demo"}', (1, 1), '"/"'),
        (b'{"mission": "demo"}\n}', (2, 1), '"}"'),
        (b'{"mission": "a\tb"}', (1, 15), '"\\u0009"'),
        (b'{"mission": "\\x"}', (1, 14), '"\\"'),
        (b'{"a":\n  NaN}', (2, 3), "NaN"),
        (b'{"a":\n -Infinity}', (2, 2), "-Infinity"),
        (b'{"a": 1e999}', (1, 7), "a number out of range"),
        (b'{"a": ' + b"1" * 5000 + b"}", (1, 7), "a number out of range"),
        (b'{"a": "\\ud800 "}', (1, 7), "half of a surrogate pair"),
        (b"[" * 100_000, (1, MAX_DEPTH + 1), f"more than {MAX_DEPTH} nested lists and objects"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, (1, 5 * MAX_DEPTH + 1), f"more than {MAX_DEPTH} nested"),
        (b"[" * (MAX_BYTES - 1), (1, MAX_DEPTH + 1), f"more than {MAX_DEPTH} nested"),
    ],
)
def test_what_is_no_json(tmp_path: Path, data: bytes, place: tuple[int, int] | None, found: str) -> None:
    line, column, text = fault_in(tmp_path, data)
    assert text.startswith(found)
    assert place is None or (line, column) == place


def test_brackets_in_texts_do_not_nest(tmp_path: Path) -> None:
    path = write(tmp_path, {"mission": "demo", "components": [component(env={"A": "[{" * 500}, layer=5)]})
    assert only_fault(lambda: load_mission(path, environ={})).pointer == "/components/0/layer"


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = write(tmp_path, b"[")
    os.truncate(path, 100 * 1024 * 1024)  # Sparse: it takes no space.
    assert "more than 8388608 bytes" in only_fault(lambda: load_mission(path, environ={})).found


def test_a_full_size_file_of_faults_is_told_in_part(tmp_path: Path) -> None:
    data = b'{"mission":"demo","components":[' + b"1," * 1_000_000 + b"1]}"
    path = write(tmp_path, data)
    with pytest.raises(Exception) as caught:
        load_mission(path, environ={})
    faults = getattr(caught.value, "faults", ())
    assert 100 < len(faults) <= 2000
    assert str(caught.value).endswith(f"and {len(faults) - 100} more faults")


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


def test_what_is_no_regular_file(tmp_path: Path, pipe: str) -> None:
    def found(path: str) -> str:
        return only_fault(lambda: load_mission(path, environ={})).found

    assert found(str(tmp_path)) == "a folder"
    assert found(pipe) == "a pipe, socket or device"
    assert found("/dev/zero") == "a pipe, socket or device"
    assert found(str(tmp_path / "nothing")) == "no such file"
    assert found("a\0b") == "a path with a NUL character"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert found(str(tmp_path / "loop")).startswith("an error while opening it")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "\udcff"
    folder.mkdir()
    path = write(folder, {"mission": "demo", "components": [component()]})
    with pytest.raises(ConfigurationError) as caught:
        load_mission(path, environ={})
    assert caught.value.faults[0].found == "a path that is not UTF-8"
    assert b"\\\\udcff/boot_config.json" in caught.value.to_json()
    assert "\\udcff/boot_config.json" in str(caught.value)


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = write(tmp_path, b"{}")
    os.chmod(path, 0)
    user = os.geteuid()
    if user == 0:  # Root reads everything, so be somebody else for a moment.
        os.chmod(tmp_path, 0o755)
        for parent in tmp_path.parents[:2]:
            os.chmod(parent, 0o755)
        os.seteuid(65534)
    try:
        fault = only_fault(lambda: load_mission(path, environ={}))
    finally:
        os.seteuid(user)
    assert fault.found == "a file that may not be read"
