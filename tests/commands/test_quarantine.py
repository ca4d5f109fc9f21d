"""``razar quarantine`` on a running mission and on one that is not running."""

from __future__ import annotations

import json
from pathlib import Path

from razar.boot.mission_lock import MissionLock
from tests.commands.mission import Folder, component, razar, running


def test_list_and_show(shared: Folder) -> None:
    done = shared.razar("quarantine", "list")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("broken")
    (entry,) = shared.json("quarantine", "list")
    assert entry["id"] == "broken"
    assert "exited with code 3" in entry["error"]
    shown = shared.razar("quarantine", "show", "broken")
    assert shown.returncode == 0
    assert "remediation: " in shown.stdout
    assert "razar quarantine release broken" in shown.stdout
    assert shared.json("quarantine", "show", "broken") == entry


def test_ids_that_are_unknown_or_not_in_quarantine(shared: Folder) -> None:
    for action in ("show", "release"):
        done = shared.razar("quarantine", action, "brken")
        assert (done.returncode, "did you mean broken?" in done.stderr) == (2, True)
        done = shared.razar("quarantine", action, "web")
        assert (done.returncode, "web is not in quarantine" in done.stderr) == (1, True)
    for argv in ((), ("show",), ("release",), ("forget", "web"), ("list", "web")):
        assert shared.razar("quarantine", *argv).returncode == 2


def test_nothing_in_quarantine(tmp_path: Path) -> None:
    done = razar(tmp_path, "quarantine", "list")
    assert (done.returncode, done.stdout) == (0, "nothing is in quarantine\n")
    assert json.loads(razar(tmp_path, "quarantine", "list", "--json").stdout) == []


def test_release_on_a_running_mission_starts_the_component(tmp_path: Path) -> None:
    script = "test -e mended || exit 3; echo ready; exec sleep 1000"
    with running(
        tmp_path,
        component("web", "echo ready; exec sleep 1000"),
        component("table", script, criticality="optional"),
    ) as folder:
        failed = folder.razar("quarantine", "release", "table")
        assert failed.returncode == 1
        assert "table: exited with code 3 before it was healthy" in failed.stderr
        (tmp_path / "mended").touch()
        done = folder.razar("quarantine", "release", "table", "--note", "made the table")
        assert (done.returncode, done.stdout.startswith("table: running, pid ")) == (0, True)
        assert folder.json("quarantine", "list") == []
    rows = (tmp_path / "docs" / "quarantine_log.md").read_text()
    assert "| table | released | made the table |" in rows


def test_what_was_in_quarantine_and_restarted_is_ignited_by_the_next_boot(tmp_path: Path) -> None:
    script = "test -e mended || exit 3; echo ready; exec sleep 1000"
    with running(
        tmp_path, component("web", "echo ready; exec sleep 1000"), component("table", script)
    ) as folder:
        assert folder.component("table")["state"] == "quarantined"
        (tmp_path / "mended").touch()
        assert folder.razar("restart", "table").returncode == 0
        assert folder.json("quarantine", "list") == []
        assert folder.razar("stop").returncode == 0
        assert folder.process is not None and folder.process.wait(10) == 0
        folder.boot()
        assert folder.component("table")["state"] == "running"
    rows = (tmp_path / "docs" / "quarantine_log.md").read_text()
    assert "| table | released | restarted by the operator |" in rows


def test_release_on_a_stopped_mission_is_for_the_next_boot(own: Folder) -> None:
    own.razar("stop")
    done = own.razar("quarantine", "release", "broken", "--note", "mended", "--json")
    assert json.loads(done.stdout) == {"ok": True, "components": [{"id": "broken", "released": True}]}
    assert own.json("quarantine", "list") == []
    assert "| broken | released | mended |" in (own.path / "docs" / "quarantine_log.md").read_text()
    assert own.razar("quarantine", "release", "broken").returncode == 1


def test_a_release_does_not_race_a_supervisor_that_does_not_answer(own: Folder) -> None:
    own.razar("stop")
    lock = MissionLock(str(own.logs / "razar.lock"))
    lock.acquire()
    done = own.razar("quarantine", "release", "broken")
    lock.release()
    assert done.returncode == 4
    assert [entry["id"] for entry in own.json("quarantine", "list")] == ["broken"]


def test_a_release_after_a_crash_does_not_make_the_next_boot_forget_the_crash(own: Folder) -> None:
    own.kill()
    assert own.razar("quarantine", "release", "broken").returncode == 0
    ended = own.json("status")["ended"]
    assert (ended["clean"], sorted(ended["leftovers"])) == (False, ["web", "worker"])
    assert own.razar("stop").returncode == 0
