"""``razar repairs`` on a mission that is not running: every decision, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.razar.patching import decisions
from tests.commands.mission import environment, razar
from tests.repair.support import APP, FIX, Mission, edit

MENDED = APP.replace(*FIX)


@pytest.fixture
def mission(tmp_path: Path) -> Mission:
    return Mission(tmp_path)


async def waiting(mission: Mission) -> str:
    """A verified patch that waits for approval; its id."""
    scope = type(mission.scope)(paths=mission.scope.paths, tests=mission.tests, approval="ask")
    outcome = await mission.repair(edit(), scope=scope, agent="kimi2")
    assert outcome.status == "proposed", outcome
    return outcome.id


def repairs(mission: Mission, *argv: str) -> subprocess.CompletedProcess[str]:
    done = razar(mission.root, "repairs", *argv)
    assert "Traceback" not in done.stderr
    return done


def listed(mission: Mission) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(repairs(mission, "list", "--json").stdout)
    return found


async def test_a_patch_that_waits_is_listed_and_shown_with_its_diff_and_tests(mission: Mission) -> None:
    id = await waiting(mission)
    (entry,) = listed(mission)["repairs"]
    assert entry["id"] == id and entry["state"] == "waits" and entry["files"] == ["src/app.py"]
    assert entry["component"] == "adder" and entry["agent"] == "kimi2"
    assert id in repairs(mission, "list").stdout
    shown = repairs(mission, "show", id).stdout
    assert "-    return a - b" in shown and "+    return a + b" in shown
    assert "exit 0" in shown and f"razar repairs approve {id}" in shown
    assert "src/app.py" in json.loads(repairs(mission, "show", id, "--json").stdout)["proven"]


async def test_approve_applies_and_keeps_it_for_the_next_boot(mission: Mission) -> None:
    id = await waiting(mission)
    done = repairs(mission, "approve", id)
    assert done.returncode == 0 and f"{id}: kept" in done.stdout
    assert mission.app.read_text() == MENDED
    assert decisions.recover(str(mission.logs)) == [], "the next boot would undo it"
    assert repairs(mission, "approve", id).returncode == 1


async def test_reject_leaves_everything_and_is_recorded_with_its_reason(mission: Mission) -> None:
    id = await waiting(mission)
    assert repairs(mission, "reject", id, "--note", "too clever").returncode == 0
    assert mission.app.read_text() == APP
    assert listed(mission)["repairs"][0]["state"] == "rejected"
    assert mission.records()[-1]["reason"] == "too clever"
    assert repairs(mission, "approve", id).returncode == 1
    assert mission.app.read_text() == APP


async def test_rollback_restores_the_bytes_and_names_what_others_had_changed(mission: Mission) -> None:
    id = await waiting(mission)
    repairs(mission, "approve", id)
    mission.app.write_text("somebody else was here\n")
    done = repairs(mission, "rollback", id)
    assert done.returncode == 0 and "reverted" in done.stdout and "src/app.py" in done.stderr
    assert mission.app.read_text() == APP
    (found,) = (mission.logs / "repairs" / id / "found").iterdir()
    assert found.read_text() == "somebody else was here\n"


async def test_what_was_never_applied_cannot_be_undone(mission: Mission) -> None:
    id = await waiting(mission)
    done = repairs(mission, "rollback", id)
    assert done.returncode == 1 and "never applied" in done.stderr


@pytest.mark.parametrize("id", ["nonsense", "../../etc", "20260101T000000-000000000000"])
@pytest.mark.parametrize("action", ["show", "approve", "reject", "rollback"])
def test_what_is_no_repair_is_refused(mission: Mission, action: str, id: str) -> None:
    done = repairs(mission, action, id)
    assert done.returncode == 2 and "repair" in done.stderr


def test_without_repairs_it_says_so(mission: Mission) -> None:
    assert repairs(mission, "list").stdout == "there are no repairs\n"
    assert listed(mission) == {"paused": None, "repairs": []}


def test_pause_and_resume(mission: Mission) -> None:
    assert repairs(mission, "pause", "--note", "release day").returncode == 0
    assert listed(mission)["paused"] == "release day"
    assert "release day" in repairs(mission, "list").stdout
    assert repairs(mission, "resume").stdout == "resumed\n"
    assert repairs(mission, "resume").stdout == "repair was not paused\n"
    assert listed(mission)["paused"] is None


async def test_a_damaged_repair_is_listed_as_such_and_hides_no_other(mission: Mission) -> None:
    id = await waiting(mission)
    (mission.logs / "repairs" / id / "manifest.json").write_text("{")
    later = await waiting_again(mission)
    states = {entry["id"]: entry["state"] for entry in listed(mission)["repairs"]}
    assert states == {id: "damaged", later: "waits"}
    assert repairs(mission, "approve", id).returncode == 1
    assert os.path.exists(mission.app)


async def waiting_again(mission: Mission) -> str:
    scope = type(mission.scope)(paths=mission.scope.paths, tests=mission.tests, approval="ask")
    outcome = await mission.repair(edit(new="    return b + a\n"), scope=scope)
    return outcome.id


def test_a_disk_that_refuses_is_told_with_the_file(mission: Mission) -> None:
    (mission.root / "logs" / "repairs").mkdir(parents=True, exist_ok=True)
    program = f"ulimit -f 0; exec {sys.executable} -m razar repairs pause"
    done = subprocess.run(
        ["sh", "-c", program], cwd=mission.root, env=environment(), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr == "razar: logs/repairs/paused: File too large\n"
