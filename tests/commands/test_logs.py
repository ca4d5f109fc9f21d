"""``razar logs``: what components have written, merged, chosen, followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.commands.mission import Folder, environment, razar
from tests.support.waiting import until_sync


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder of logs of a mission that does not run."""
    for id, lines in {
        "web": ["2025-09-21T00:00:00Z one", "  a continuation", "2025-09-21T00:00:02Z three"],
        "worker": ["2025-09-21T00:00:01Z two", "2025-09-21T00:00:03Z four"],
        "quiet": [],
    }.items():
        (tmp_path / "logs" / "components" / id).mkdir(parents=True)
        (tmp_path / "logs" / "components" / id / "current.log").write_text(
            "".join(f"{line}\n" for line in lines)
        )
    return tmp_path


def test_one_component_as_it_was_written(shared: Folder) -> None:
    assert shared.razar("logs", "web").stdout == "web is ready\n"
    assert shared.razar("logs", "broken").stdout == "no such table\n"


def test_several_are_prefixed(shared: Folder) -> None:
    done = shared.razar("logs", "web", "worker")
    assert sorted(done.stdout.splitlines()) == ["web    | web is ready", "worker | worker is ready"]


def test_lines_are_merged_by_their_time_and_continuations_stay_behind(written: Path) -> None:
    lines = razar(written, "logs").stdout.splitlines()
    assert [line.split("|")[0].strip() for line in lines] == ["web", "web", "worker", "web", "worker"]
    assert lines[1] == "web    |   a continuation"


def test_the_last_lines_of_each(written: Path) -> None:
    assert razar(written, "logs", "-n", "1").stdout.splitlines() == [
        "web    | 2025-09-21T00:00:02Z three",
        "worker | 2025-09-21T00:00:03Z four",
    ]


def test_since_a_time(written: Path) -> None:
    done = razar(written, "logs", "web", "worker", "--since", "2025-09-21T00:00:02Z")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["three", "four"]
    assert razar(written, "logs", "--since", "1s").stdout == ""


def test_json_lines(written: Path) -> None:
    lines = [json.loads(line) for line in razar(written, "logs", "--json").stdout.splitlines()]
    assert lines[0] == {"component": "web", "at": 1758412800.0, "line": "2025-09-21T00:00:00Z one"}
    assert lines[1]["at"] is None


def test_bytes_that_are_no_text_pass_through(written: Path) -> None:
    raw = b"caf\xe9 \x1b[31mred\x1b[0m\n"
    (written / "logs" / "components" / "web" / "current.log").write_bytes(raw)
    argv = [sys.executable, "-m", "razar", "logs", "web"]
    done = subprocess.run(argv, cwd=written, env=environment(), capture_output=True, timeout=30)
    assert done.stdout == raw
    as_json = json.loads(razar(written, "logs", "web", "--json").stdout)
    assert as_json["line"] == "caf\ufffd \x1b[31mred\x1b[0m"


def test_a_last_line_without_an_end_is_shown(written: Path) -> None:
    (written / "logs" / "components" / "web" / "current.log").write_text("cut off in the mid")
    assert razar(written, "logs", "web").stdout == "cut off in the mid\n"


def test_unknown_components_and_bad_usage(written: Path, tmp_path: Path) -> None:
    done = razar(written, "logs", "wrker")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean worker?" in done.stderr
    for argv in (("-n", "-1"), ("-n", "many"), ("--since", "once upon a time"), ("--until", "now")):
        assert razar(written, "logs", *argv).returncode == 2


def test_nothing_was_ever_written(tmp_path: Path) -> None:
    done = razar(tmp_path, "logs")
    assert done.returncode == 1
    assert "no component has written anything" in done.stderr


def follow(folder: Path, *argv: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "razar", "logs", "-f", *argv],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    return process


def line_of(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.readline()


def test_follow_shows_what_comes_across_a_rotation_until_ctrl_c(written: Path) -> None:
    folder = written / "logs" / "components" / "web"
    process = follow(written, "web", "-n", "1")
    assert line_of(process.stdout) == b"2025-09-21T00:00:02Z three\n"
    with open(folder / "current.log", "a") as file:
        file.write("before\n")
        os.rename(folder / "current.log", folder / "current.log.1")
    (folder / "current.log").write_text("after\n")
    assert line_of(process.stdout) == b"before\n"
    assert line_of(process.stdout) == b"after\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_follow_finds_components_that_come_later(written: Path) -> None:
    process = follow(written, "-n", "1")
    assert line_of(process.stdout).endswith(b"three\n")
    assert line_of(process.stdout).endswith(b"four\n")
    late = written / "logs" / "components" / "late"
    late.mkdir()
    (late / "current.log").write_text("here I am\n")
    assert line_of(process.stdout) == b"late   | here I am\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()


def test_a_reader_that_has_seen_enough_ends_it_quietly(written: Path) -> None:
    log = written / "logs" / "components" / "web" / "current.log"
    log.write_text("a line of some length to fill pipes\n" * 50_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "razar", "logs", "web"],
        cwd=written,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert line_of(process.stdout) == b"a line of some length to fill pipes\n"
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.wait(20), process.stderr.read()) == (141, b"")
    process.stderr.close()


def test_follow_of_a_running_component_shows_its_next_incarnation(own: Folder) -> None:
    process = follow(own.path, "web")
    assert line_of(process.stdout) == b"web is ready\n"
    assert own.razar("restart", "web").returncode == 0
    assert line_of(process.stdout) == b"web is ready\n"
    process.send_signal(signal.SIGTERM)
    until_sync(lambda: process.poll() is not None)
    process.communicate()
