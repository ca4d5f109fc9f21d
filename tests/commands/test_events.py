"""``razar events``: the journal for people and for programs, also across segments."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from razar.engine import events
from razar.engine.state import MissionState
from razar.mission_logger import Journal
from razar.operator.journal import JournalFollower, last_boot, read_all
from tests.commands.mission import Folder, environment, razar


def test_what_happened_in_the_last_boot(shared: Folder) -> None:
    done = shared.razar("events")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first.split("  ")[1].startswith("boot of mission demo began")
    assert any("web: started, pid " in line for line in rest)
    assert any("broken: incarnation 1 exited with code 3" in line for line in rest)


def test_only_of_one_component_and_only_the_last(shared: Folder) -> None:
    lines = shared.razar("events", "--component", "web", "-n", "1").stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("web: health check passed")
    assert shared.razar("events", "-n", "0").stdout == ""


def test_json_lines(shared: Folder) -> None:
    entries = [json.loads(line) for line in shared.razar("events", "--json").stdout.splitlines()]
    assert [entry["seq"] for entry in entries] == sorted(entry["seq"] for entry in entries)
    assert entries[0]["event"]["event"] == "BootStarted"
    assert {"at", "boot", "text", "time"} <= entries[0].keys()


def test_unknown_component_no_journal_and_bad_usage(shared: Folder, tmp_path: Path) -> None:
    done = shared.razar("events", "--component", "wrker")
    assert done.returncode == 2
    assert "did you mean worker?" in done.stderr
    done = razar(tmp_path, "events")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no mission has been booted there" in done.stderr
    for number in ("x", "-1"):
        assert razar(tmp_path, "events", "-n", number).returncode == 2


def test_a_journal_with_a_torn_end_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "razar_journal.jsonl"
    journal = Journal(str(path))
    journal.append(events.BootStarted("boot-1", "demo"), 100.0)
    journal.close()
    with open(path, "a") as file:
        file.write('{"seq":2,"at":1')
    done = razar(tmp_path, "events")
    assert done.returncode == 0
    assert done.stdout == "1970-01-01T00:01:40.000Z  boot of mission demo began (boot-1)\n"
    assert "was not finished; dropped" in done.stderr


def test_all_boots_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    journal = Journal(str(tmp_path / "logs" / "razar_journal.jsonl"))
    journal.append(events.BootStarted("boot-1", "demo"), 100.0)
    journal.append(events.BootStarted("boot-2", "demo"), 200.0)
    journal.close()
    assert razar(tmp_path, "events").stdout.count("began") == 1
    assert razar(tmp_path, "events", "--all").stdout.count("began") == 2


def test_segments_are_one_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "razar_journal.jsonl")
    state = MissionState(mission="demo")
    journal = Journal(path, segment=600, checkpoint=lambda: state)
    journal.append(events.BootStarted("boot-1", "demo"), 1.0)
    follower = JournalFollower(path, 1)
    followed = []
    for number in range(10):
        journal.append(events.Spawned(f"c{number}", 1, 100 + number), 2.0 + number)
        if number % 2:
            followed += list(follower.records())
    journal.close()
    records, problems = read_all(path)
    assert (tmp_path / "razar_journal.jsonl.1").exists()
    assert problems == []
    assert [record.seq for record in records] == list(range(1, records[-1].seq + 1))
    assert last_boot(records) == records
    assert [record.seq for record in followed] == [record.seq for record in records[1:]]


def test_follow_shows_what_happens_until_ctrl_c(own: Folder) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "razar", "events", "-f", "--component", "web"],
        cwd=own.path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    while not process.stdout.readline().endswith(b"web: health check passed\n"):
        pass
    assert own.razar("restart", "worker", "web").returncode == 0
    assert process.stdout.readline().endswith(b"web: restarted by the operator\n")
    assert process.stdout.readline().endswith(b"web: incarnation 1 was killed by SIGTERM\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"")
