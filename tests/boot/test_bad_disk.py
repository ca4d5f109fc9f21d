"""Disks that are full, files that are torn, corrupt, or not ours to write: told, and never fatal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from razar.launchers import procfs
from tests.boot.checks import healthy_remains
from tests.boot.mission import Mission, script, service
from tests.support.waiting import until_sync

Make = Callable[..., Mission]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], stderr=subprocess.DEVNULL
    ).returncode:
        pytest.skip("a small file system needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left; again, if somebody has given one back meanwhile."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def test_a_disk_that_fills_up_loses_nothing_and_stops_nobody(mission: Make, tmp_path: Path) -> None:
    one = mission(service("a", restart={"backoff": "0ms"}), service("b"))
    with small_disk(tmp_path / "disk") as disk:
        one.logs = disk / "logs"
        one.start("--logs", "disk/logs")
        first = one.wait_for_state("a", "running")
        one.wait_for_line("INFO Mission demo complete")
        ballast = fill(disk)
        os.kill(first["pid"], 9)
        until_sync(lambda: one.out.count("Health check passed for a") == 2)
        # A snapshot that was replaced in the instant before left room for the next one.
        until_sync(lambda: fill(disk) and "No space left on device" in one.out + one.err)
        assert one.state["schema"] == 1
        ballast.unlink()
        # There is room again: what was kept in memory is written.
        again = until_sync(
            lambda: (c := one.component("a")) and c["incarnation"] == 2 and c["state"] == "running" and c, 20
        )
        assert again["pid"] != first["pid"]
        assert one.stop() == 0
        assert one.log.count("INFO Health check passed for a") == 2
        records = [
            json.loads(line) for line in (one.logs / "razar_journal.jsonl").read_text().splitlines()[1:]
        ]
        assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
        assert sum(r["event"]["event"] == "Spawned" and r["event"]["component"] == "a" for r in records) == 2
        healthy_remains(one)


def test_a_boot_on_a_full_disk(mission: Make, tmp_path: Path) -> None:
    one = mission(
        service("a"), script("b", "exit 1", retries=0, criticality="optional"), crown={"required_model": None}
    )
    with small_disk(tmp_path / "disk") as disk:
        one.logs = disk / "logs"
        fill(disk)
        assert one.boot("--logs", "disk/logs") == 2
        assert "cannot write to the logs folder" in one.err and "No space left on device" in one.err
        (disk / "ballast").unlink()
        one.start("--logs", "disk/logs")
        old = one.wait_for_state("a", "running")["pid"]
        one.stop(signal.SIGKILL)
        fill(disk)
        assert one.boot("--logs", "disk/logs") == 0, one.err
        assert "a is left over from a supervisor that was killed" in one.err and str(old) in one.err
        assert "Mission demo complete" in one.out and "No space left on device" in one.err
        assert "Traceback" not in one.out + one.err
        healthy_remains(one)


def test_supervisors_killed_on_a_full_disk_leave_no_second_copy(mission: Make, tmp_path: Path) -> None:
    """None of these boots is in the journal: the lock's file tells of them."""
    one = mission(script("a", "touch ../up; exec sleep 1000", health=str(tmp_path / "up"), cwd="disk"))
    with small_disk(tmp_path / "disk") as disk:
        one.logs = disk / "logs"
        one.start("--logs", "disk/logs")
        one.wait_for_state("a", "running")
        fill(disk)
        for _ in range(3):
            (tmp_path / "up").unlink()
            one.stop(signal.SIGKILL)
            one.start("--logs", "disk/logs")
            until_sync(lambda: "Mission demo complete" in one.out)
            # It is healthy an instant before its `touch` has ended.
            until_sync(lambda: len(copies(disk)) == 1)
            assert "a is left over from a supervisor that was killed" in one.err
        assert one.stop() == 0
        assert copies(disk) == [] and (one.logs / "razar.lock").read_text() == ""
        (tmp_path / "up").unlink()
        one.start("--logs", "disk/logs")
        until_sync(lambda: "Mission demo complete" in one.out)
        one.stop(signal.SIGKILL)
        command = [sys.executable, "-m", "razar", "stop", "--logs", str(one.logs)]
        stopped = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "stopped what was left of" in stopped.stdout and copies(disk) == [], stopped


def copies(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for pid in procfs.all_pids():
        try:
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(pid)
        except OSError:
            continue
    return found


def test_a_folder_that_cannot_be_made(mission: Make) -> None:
    one = mission(service("a"))
    (one.folder / "taken").write_text("a file")
    assert one.boot("--logs", "taken") == 2
    assert "taken" in one.err and one.boot("--logs", "taken/below") == 2
    assert one.boot("--logs", "/proc/nowhere") == 2
    assert "Traceback" not in one.err and "/proc/nowhere" in one.err


@pytest.mark.parametrize(
    "name",
    [
        "razar_state.json",
        "razar_journal.jsonl",
        "boot_orchestrator.log",
        "razar_quarantine.json",
        "components",
        "mission_briefs",
        "razar.sock",
    ],
)
def test_a_folder_where_a_file_should_be_and_the_reverse(mission: Make, name: str) -> None:
    one = mission(service("a"), crown={"required_model": None})
    path = one.logs / name
    if "." in name:
        path.mkdir(parents=True)
    else:
        one.logs.mkdir()
        path.write_text("in the way")
    code = one.boot()
    text = one.out + one.err
    assert "Traceback" not in text, text
    assert name.partition(".")[0] in text or name == "razar.sock", text
    assert code == (1 if name == "components" else 0) or name == "razar_journal.jsonl"
    assert one.processes() == []


@pytest.mark.parametrize(("make", "stop"), [(os.mkdir, 1), (os.mkfifo, 0)])
def test_something_else_in_the_place_of_the_lock(
    mission: Make, make: Callable[[Path], None], stop: int
) -> None:
    one = mission(service("a"))
    one.logs.mkdir()
    make(one.logs / "razar.lock")
    assert one.boot() == 2
    assert "razar.lock is" in one.err and "move it away" in one.err and "Traceback" not in one.err
    for verb, code in ("status", 3), ("stop", stop):
        done = subprocess.run(
            [sys.executable, "-m", "razar", verb],
            cwd=one.folder,
            env=one.environ(),
            capture_output=True,
            timeout=30,
        )
        assert done.returncode == code, done.stderr


STATES = {
    "empty": b"",
    "torn": b'{"schema": 1, "miss',
    "zeros": b"\0" * 4096,
    "array": b"[]",
    "types": b'{"schema": 1, "mission": 7, "components": {}}',
    "newer": b'{"schema": 99, "mission": "demo"}',
    "deep": b"[" * 100_000,
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_file_that_cannot_be_read_is_set_aside_whole(mission: Make, kind: str) -> None:
    one = mission(service("a"))
    one.logs.mkdir()
    (one.logs / "razar_state.json").write_bytes(STATES[kind])
    assert one.boot() == 0
    [aside] = [path for path in one.logs.iterdir() if path.name.startswith("razar_state.json.")]
    assert aside.read_bytes() == STATES[kind]
    assert any(line.startswith("WARN") and aside.name in line for line in one.log)
    healthy_remains(one)


def test_a_journal_with_a_torn_last_line_and_strange_ones(mission: Make) -> None:
    one = mission(service("a"))
    assert one.boot() == 0
    journal = one.logs / "razar_journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"seq": 99, "at": 17')
    assert one.boot() == 0
    assert journal.read_bytes().startswith(whole)
    seqs = [json.loads(line)["seq"] for line in journal.read_text().splitlines()[1:]]
    assert seqs == list(range(1, len(seqs) + 1))
    healthy_remains(one)
    # A supervisor that was killed, and a journal that was then damaged in its midst.
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(
        b"".join(lines[:3]) + b"\xff\x00 no json\n[1]\n{}\n" + b"".join(lines[3:]) + b'{"seq"'
    )
    (one.logs / "razar.lock").write_text("999999\n")
    assert one.boot() == 0
    assert sum(line.startswith("WARN") and "razar_journal.jsonl" in line for line in one.log) >= 1
    assert one.processes() == []


def test_the_quarantine_of_an_earlier_boot_that_cannot_be_read(mission: Make) -> None:
    one = mission(
        script("a", "test -e mended && echo ready && exec sleep 1000", retries=0, criticality="optional")
    )
    assert one.boot() == 0 and one.component("a")["state"] == "quarantined"
    (one.folder / "mended").touch()
    (one.logs / "razar_quarantine.json").write_bytes(b'{"comp')
    assert one.boot() == 0
    assert any(line.startswith("WARN") and "razar_quarantine.json" in line for line in one.log)
    healthy_remains(one)


def test_a_error_with_bars_and_line_breaks_is_one_row_of_the_table(mission: Make) -> None:
    one = mission(
        script("a", "printf 'ModuleNotFoundError: | a | b |\\r\\n| c | x |\\n' >&2; exit 1", retries=0)
    )
    assert one.boot() == 1
    rows = [
        line for line in (one.folder / "docs/quarantine_log.md").read_text().splitlines() if "| a |" in line
    ]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 5
