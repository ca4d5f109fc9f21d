"""The snapshot: its shape, and a file that is valid whatever is killed when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, get_args

import pytest

from razar.engine import events
from razar.engine.facts import Transition
from razar.engine.state import State
from razar.projections.recent_events import RecentEvents
from razar.state import StateFile, load_previous, render
from tests.support.waiting import until_sync

from .conftest import SmallDisk
from .support import BEGAN, Story, component


def _told() -> Story:
    """One component comes up, one does not; Crown, memory, core and the model launcher have answered."""
    story = Story(component("crown_router", layer="crown"), component("basic", retries=0))
    story.take(events.BootStarted("boot-1", "demo"))
    handshake = {
        "status": "ack",
        "crown_version": "1.4",
        "acknowledgement": "go",
        "capabilities": [],
        "downtime": {},
    }
    story.take(events.HandshakeCompleted(handshake))
    story.take(events.ModelLaunched({"model": "GLM-4.1V", "status": "unavailable", "returncode": 69}))
    story.take(events.MemoryInitialised({"episodic": "ready"}))
    story.take(events.CoreEvaluated("ready"))
    story.take(events.IgnitionBegan())
    story.prove("crown_router", 5.0)
    return story.spawn("basic").exit("basic", 3, ("boom",))


def _snapshot(story: Story) -> dict[str, Any]:
    recent = RecentEvents()
    story.tell(recent)
    return render(story.state, story.plan.order, recent.entries(), ["basic"])


def test_the_snapshot_has_exactly_the_promised_shape() -> None:
    snapshot = _snapshot(_told())
    events_of = snapshot.pop("events")
    assert snapshot == {
        "schema": 1,
        "mission": "demo",
        "boot_id": "boot-1",
        "last_boot": "2025-09-21T00:00:06Z",
        "handshake": {
            "status": "ack",
            "crown_version": "1.4",
            "acknowledgement": "go",
            "capabilities": [],
            "downtime": {},
        },
        "model_launches": [{"model": "GLM-4.1V", "status": "unavailable", "returncode": 69}],
        "memory": {"layers": {"episodic": "ready"}},
        "core": "ready",
        "components": [
            {
                "id": "crown_router",
                "layer": "crown",
                "state": "running",
                "pid": 4711,
                "incarnation": 1,
                "since": "2025-09-21T00:00:05Z",
                "restarts": 0,
                "error": None,
            },
            {
                "id": "basic",
                "layer": "core",
                "state": "quarantined",
                "pid": None,
                "incarnation": 1,
                "since": "2025-09-21T00:00:06Z",
                "restarts": 0,
                "error": "exited with code 3 before it was healthy",
            },
        ],
        "quarantine": ["basic"],
    }
    assert events_of[-2:] == [
        {
            "step": "launch",
            "component": "basic",
            "status": "fail",
            "error": "exited with code 3 before it was healthy",
            "timestamp": BEGAN + 6,
        },
        {
            "step": "boot",
            "component": None,
            "status": "fail",
            "error": "basic is quarantined (exited with code 3 before it was healthy)",
            "timestamp": BEGAN + 6,
        },
    ]


def test_last_boot_is_the_previous_one_until_this_boot_has_ended() -> None:
    story = Story(component("a")).begin()
    assert render(story.state, ["a"], [], [], "2025-01-01T00:00:00Z")["last_boot"] == "2025-01-01T00:00:00Z"
    story.prove("a")
    assert render(story.state, ["a"], [], [], "2025-01-01T00:00:00Z")["last_boot"] == "2025-09-21T00:00:00Z"


def test_a_component_that_is_not_healthy_in_time_is_a_failed_launch() -> None:
    story = Story(component("a")).begin().spawn("a").fail_probe("a", "connection refused")
    story.timer("a", "deadline", 60.0).exit("a", None)
    recent = RecentEvents()
    story.tell(recent)
    entry = recent.entries()[-1]
    assert (entry["step"], entry["status"]) == ("launch", "fail")
    assert entry["error"].startswith(
        "Health check failed: not healthy within 60 s; last probe: connection refused"
    )


def test_liveness_restart_and_stop_are_events() -> None:
    story = Story(component("a")).begin().prove("a")
    for _ in range(3):
        story.fail_probe("a", "HTTP 500")
    story.exit("a", 0).timer("a", "backoff", 1.0).prove("a").exit("a", 9).timer("a", "backoff", 1.0).prove(
        "a"
    )
    story.take(events.ShutdownRequested("SIGTERM")).exit("a", None)
    recent = RecentEvents()
    story.tell(recent)
    assert [(entry["step"], entry["status"]) for entry in recent.entries()] == [
        ("launch", "start"),
        ("probe", "ok"),
        ("boot", "complete"),
        ("probe", "fail"),
        ("restart", "start"),
        ("probe", "ok"),
        ("exit", "fail"),
        ("restart", "start"),
        ("probe", "ok"),
        ("stop", "start"),
        ("stop", "ok"),
        ("stop", "complete"),
    ]


@pytest.mark.parametrize(
    "cause", ["boot", "spawned", "healthy", "exit", "launch", "deadline", "liveness", "operator"]
)
def test_every_transition_has_an_entry_or_none_but_never_an_error(cause: str) -> None:
    recent = RecentEvents(limit=10_000)
    for before in get_args(State):
        for after in get_args(State):
            recent.fact(
                Transition(
                    component="a", layer="l", before=before, after=after, incarnation=1, at=1.0, cause=cause
                )
            )
    assert {entry["status"] for entry in recent.entries()} <= {"start", "ok", "fail", "skip", "hold"}


def test_only_the_last_hundred_events_are_kept() -> None:
    recent = RecentEvents()
    for number in range(250):
        recent.note("probe", "a", "ok", None, float(number))
    assert [entry["timestamp"] for entry in recent.entries()] == [float(n) for n in range(150, 250)]


def test_what_is_written_is_what_is_loaded_next_time(tmp_path: Path) -> None:
    path = str(tmp_path / "razar_state.json")
    snapshot = _snapshot(_told())
    file = StateFile(path)
    file.offer(lambda: snapshot)
    assert file.close()
    assert load_previous(path) == (snapshot, None)
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["razar_state.json"]


def test_texts_of_others_cannot_break_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "razar_state.json")
    story = Story(component("a")).begin()
    story.take(events.HandshakeCompleted({"status": "refused", "acknowledgement": "\udcff\0"}))
    story.take(events.LaunchFailed("a", 1, "https://user:hunter22@host/\x1b[2J \udcff is no program"))
    file = StateFile(path)
    file.offer(lambda: _snapshot(story))
    assert file.close()
    state = json.loads(Path(path).read_text())
    assert state["components"][0]["error"] == "https://host/ \\udcff is no program"
    assert state["handshake"]["acknowledgement"] == "\\udcff\0"
    assert load_previous(path) == (state, None)


def test_snapshots_that_are_overtaken_are_never_made(tmp_path: Path) -> None:
    path = str(tmp_path / "razar_state.json")
    made: list[int] = []
    writing, proceed = threading.Event(), threading.Event()

    def make(number: int) -> dict[str, Any]:
        made.append(number)
        if number == 0:
            writing.set()
            assert proceed.wait(10)
        return {"number": number}

    file = StateFile(path, interval=0.0)
    file.offer(lambda: make(0))
    assert writing.wait(10)
    for number in range(1, 1000):
        file.offer(lambda number=number: make(number))
    proceed.set()
    assert file.flush()
    assert made == [0, 999]
    assert json.loads(Path(path).read_text()) == {"number": 999}
    file.close()


def test_offer_returns_while_the_writer_is_stuck(tmp_path: Path) -> None:
    begun, stuck = threading.Event(), threading.Event()
    file = StateFile(str(tmp_path / "razar_state.json"), interval=0.0)
    file.offer(lambda: {"begun": begun.set(), "stuck": stuck.wait(10)})
    assert begun.wait(10)
    file.offer(lambda: {"newer": True})
    assert not file.flush(timeout=0.05)
    stuck.set()
    assert file.close()
    assert json.loads((tmp_path / "razar_state.json").read_text()) == {"newer": True}


def test_a_full_disk_is_told_once_and_written_when_there_is_room(small_disk: SmallDisk) -> None:
    path = small_disk.path / "razar_state.json"
    told: list[str] = []
    file = StateFile(str(path), report=told.append, interval=0.0, retry=0.01)
    file.offer(lambda: {"number": 0})
    assert file.flush()
    small_disk.fill()
    for number in range(1, 5):
        file.offer(lambda number=number: {"number": number, "ballast": "x" * 10_000})
        assert not file.flush()
    assert json.loads(path.read_text()) == {"number": 0}
    assert len(told) == 1 and "No space left on device" in told[0]
    small_disk.free()
    until_sync(lambda: json.loads(path.read_text())["number"] == 4)
    assert file.close()
    assert told[1:] == [f"{path} is written again"]
    assert os.listdir(small_disk.path) == ["razar_state.json"]


def test_a_folder_that_is_there_again_need_not_wait_for_the_next_try(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "logs" / "razar_state.json"
    file = StateFile(str(path), report=told.append, interval=0.0, retry=1000.0)
    file.offer(lambda: {"number": 1})
    until_sync(lambda: any("cannot be written" in text for text in told))
    path.parent.mkdir()
    file.offer(lambda: {"number": 2})

    def written() -> bool:
        file.hasten()
        return path.exists()

    until_sync(written)
    assert file.close()
    assert json.loads(path.read_text()) == {"number": 2} and "is written again" in told[-1]


def test_a_snapshot_that_cannot_be_made_is_told_and_the_next_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "razar_state.json"
    told: list[str] = []
    file = StateFile(str(path), report=told.append, interval=0.0)
    file.offer(lambda: {"a": object()})
    file.flush()
    file.offer(lambda: {"a": 1})
    assert file.close()
    assert json.loads(path.read_text()) == {"a": 1}
    assert len(told) == 1


def test_after_close_a_new_offer_is_written_too(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path / "s.json"))
    file.offer(lambda: {"a": 1})
    assert file.close()
    file.offer(lambda: {"a": 2})
    assert file.close()
    assert json.loads((tmp_path / "s.json").read_text()) == {"a": 2}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\0" * 5000, "is empty"),
        (b'{"schema": 1, "mission"', "is corrupt"),
        (b"\xff\xfe", "is corrupt"),
        (b"[1, 2]", "is corrupt"),
        (b"{}", "is corrupt"),
        (b'{"schema":1,"mission":"m","boot_id":"b","components":[{"id":7}]}', "is corrupt"),
        (b'{"schema": 2, "more": []}', "was written by a newer RAZAR (schema 2"),
        (b"[" * 1_000_000, "is corrupt"),
        (
            b'{"schema":1,"mission":"m","boot_id":"b","components":[],"memory":' + b'{"a":' * 100_000,
            "is corrupt",
        ),
    ],
    ids=["empty", "zeros", "torn", "binary", "array", "object", "types", "newer", "nested", "nested value"],
)
def test_a_state_file_that_is_no_snapshot_is_set_aside_by_name(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "razar_state.json"
    path.write_bytes(content)
    snapshot, told = load_previous(str(path), at=BEGAN)
    aside = tmp_path / "razar_state.json.corrupt-2025-09-21T00-00-00Z"
    assert snapshot is None
    assert told is not None and problem in told and str(aside) in told and "\n" not in told
    assert aside.read_bytes() == content
    assert os.listdir(tmp_path) == [aside.name]


def test_a_folder_in_the_place_of_the_state_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "razar_state.json"
    path.mkdir()
    snapshot, told = load_previous(str(path), at=BEGAN)
    assert snapshot is None and told is not None and "Is a directory" in told
    StateFile(str(path)).close()


def test_no_state_file_is_no_problem(tmp_path: Path) -> None:
    assert load_previous(str(tmp_path / "none.json")) == (None, None)


_KILLED = """
import json, os, random, signal, sys, time
from razar.state import StateFile, load_previous

path, kills = sys.argv[1], int(sys.argv[2])
bad, mid = [], 0
components = [{"id": f"c{n}", "layer": "l", "state": "running", "pid": n, "incarnation": 1, "since": None,
               "restarts": 0, "error": "e" * 200} for n in range(200)]
for kill in range(kills):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        file = StateFile(path, interval=0.0)
        for number in range(10**9):
            snapshot = {"schema": 1, "mission": "demo", "boot_id": f"{kill}-{number}",
                        "components": components, "quarantine": [], "events": []}
            file.offer(lambda: snapshot)
            if not file.flush():
                os._exit(1)
            if number == 0:
                os.write(into, b"x")
    os.close(into)
    os.read(out, 1)
    os.close(out)
    time.sleep(random.random() * 0.015)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".tmp")]
    mid += bool(left)
    snapshot, problem = load_previous(path)
    if problem or not snapshot["boot_id"].startswith(f"{kill}-"):
        bad.append([kill, problem])
    left = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".tmp")]
    if left:
        bad.append(left)
print(json.dumps({"bad": bad, "mid": mid}))
"""


def test_the_file_is_valid_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "razar_state.json"), "60"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["bad"] == []
    # Some of the kills must have hit the middle of a write, or this has proven nothing.
    assert result["mid"] > 0
