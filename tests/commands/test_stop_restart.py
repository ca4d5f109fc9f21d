"""``razar stop`` and ``razar restart`` on a real mission."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from razar.boot.mission_lock import MissionLock
from razar.commands import stop
from razar.control import client
from razar.launchers import procfs
from tests.commands.mission import Folder, component, environment, razar, running
from tests.support.waiting import until_sync

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def complaints(err: str) -> list[str]:
    """What a command said on stderr, but for whom it waits for: that is told where it takes longer."""
    return [line for line in err.splitlines() if not line.startswith("waiting for ")]


def test_stop_of_one_component_waits_until_it_is_gone(own: Folder) -> None:
    pid = own.component("worker")["pid"]
    done = own.razar("stop", "worker")
    assert (done.returncode, done.stdout, complaints(done.stderr)) == (0, "worker: stopped\n", [])
    assert not Path(f"/proc/{pid}").exists()
    assert own.component("web")["state"] == "running"
    assert own.component("worker")["state"] == "stopped"


def test_restart_waits_until_the_new_incarnation_is_healthy(own: Folder) -> None:
    before = own.component("web")
    done = own.razar("restart", "web")
    after = own.component("web")
    assert (done.returncode, done.stdout) == (0, f"web: running, pid {after['pid']}\n")
    assert after["incarnation"] == before["incarnation"] + 1
    assert after["pid"] != before["pid"]


def test_restarts_at_the_same_time_leave_one_copy(own: Folder) -> None:
    others = [
        subprocess.Popen(
            [sys.executable, "-m", "razar", "restart", id],
            cwd=own.path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for id in ("web", "worker", "web", "worker", "web")
    ]
    assert [other.wait(30) for other in others] == [0] * 5
    assert own.process is not None
    living = {pid for pid in procfs.children(own.process.pid) if (e := procfs.stat(pid)) and not e.ended}
    assert living == {own.component("web")["pid"], own.component("worker")["pid"]}


def test_restart_brings_back_what_was_stopped(own: Folder) -> None:
    assert own.razar("stop", "worker").returncode == 0
    assert own.json("restart", "worker")["ok"] is True
    assert own.component("worker")["state"] == "running"


def test_restart_of_what_cannot_start_is_exit_1_with_the_reason(own: Folder) -> None:
    done = own.razar("restart", "broken", "web")
    assert done.returncode == 1
    assert "broken: exited with code 3 before it was healthy" in done.stderr
    assert done.stdout.startswith("web: running")
    answer = own.json("restart", "broken")
    assert (answer["ok"], answer["code"]) == (False, "not_reached")


def test_an_unknown_id_is_bad_usage_and_nothing_is_done(shared: Folder) -> None:
    for verb in ("stop", "restart"):
        done = shared.razar(verb, "web", "wrker")
        assert done.returncode == 2
        assert "there is no component 'wrker'; did you mean worker?" in done.stderr
    assert shared.component("web")["incarnation"] == 1


def test_bad_usage(shared: Folder) -> None:
    for argv in (
        ("restart",),
        ("stop", "web", "--now"),
        ("stop", "--timeout", "soon"),
        ("stop", "--timeout", "-1"),
    ):
        done = shared.razar(*argv)
        assert done.returncode == 2, argv
        assert done.stderr
        assert "Traceback" not in done.stderr


def test_stop_of_the_mission_returns_when_the_supervisor_has_ended(own: Folder) -> None:
    done = own.razar("stop")
    assert (done.returncode, done.stdout) == (0, "mission demo: stopped\n")
    assert own.process is not None
    assert own.process.wait(0.5) == 0  # It has ended; only its status is still to be collected.
    again = own.razar("stop")
    assert again.returncode == 0
    assert "no mission runs" in again.stdout
    assert own.json("stop") == {"ok": True, "running": False, "leftovers": {}, "withstood": []}


def test_without_a_mission_components_cannot_be_stopped_or_restarted(tmp_path: Path) -> None:
    assert razar(tmp_path, "stop", "web").returncode == 3
    assert razar(tmp_path, "restart", "web").returncode == 3


def test_stop_names_who_holds_it_up_and_now_cuts_it_short(tmp_path: Path) -> None:
    with running(tmp_path, component("deaf", STUBBORN, stop={"grace": "1m"})) as folder:
        done = folder.razar("stop", "deaf", "--timeout", "0.2")
        assert done.returncode == 1
        assert "deaf: it is still stopping" in done.stderr
        assert "waiting for deaf (stopping: pid " in done.stderr
        late = folder.razar("stop", "--timeout", "1.5")
        assert late.returncode == 1
        assert "waiting for deaf (stopping: pid " in late.stderr
        assert not folder.ended()
        assert folder.razar("stop", "--now").returncode == 0
        until_sync(folder.ended)


def test_two_operators_stop_the_mission_at_once(own: Folder) -> None:
    argv = [sys.executable, "-m", "razar", "stop", "--json"]
    both = [
        subprocess.Popen(
            argv, cwd=own.path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, json.loads(out)["ok"], complaints(err.decode())) == (0, True, [])


def test_a_stop_waits_for_a_supervisor_that_is_about_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody else's stop has got as far as closing the socket, and the disk holds up the rest."""
    monkeypatch.setattr(client, "PATIENCE", 0.0)
    lock, looks = MissionLock(str(tmp_path / "razar.lock")), []

    def supervisor(logs: str, really: Any = client.supervisor) -> int | None:
        looks.append(logs)
        if len(looks) == 5:
            lock.release()
        return really(logs)  # type: ignore[no-any-return]

    monkeypatch.setattr(client, "supervisor", supervisor)
    lock.acquire()
    arguments = argparse.Namespace(ids=[], now=False, timeout=None, logs=str(tmp_path), json=False)
    assert stop.run(arguments) == 0
    assert "no mission runs" in capsys.readouterr().out


def test_ctrl_c_leaves_the_wait_and_the_request_goes_on(tmp_path: Path) -> None:
    with running(
        tmp_path,
        component("deaf", STUBBORN, stop={"grace": "1m"}),
        component("web", "echo ready; exec sleep 1000"),
    ) as folder:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "razar", "stop", "deaf"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until_sync(lambda: folder.component("deaf")["state"] == "stopping")
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=20)
        assert (waiting.returncode, out) == (130, b"")
        assert b"Traceback" not in err
        assert folder.component("deaf")["state"] == "stopping"
        folder.razar("stop", "--now")


def test_what_is_refused_is_told_on_stderr_with_json_too(own: Folder) -> None:
    done = own.razar("restart", "broken", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["ok"] is False
    assert done.stderr.splitlines()[-1] == "razar: broken: exited with code 3 before it was healthy"
