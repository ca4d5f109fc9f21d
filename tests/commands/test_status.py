"""``razar status`` of a mission that runs, degrades, has ended, was killed, or does not answer."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

from razar.boot.mission_lock import MissionLock
from razar.control.server import CLIENTS
from razar.launchers import procfs
from tests.commands.mission import Folder, component, razar, running
from tests.support.waiting import until_sync


def test_a_running_mission_is_a_table_and_exit_0(shared: Folder) -> None:
    done = shared.razar("status")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert shared.process is not None
    assert lines[0].startswith(f"mission demo: running (pid {shared.process.pid}, up ")
    assert lines[1] == "crown: offline"
    header = next(line for line in lines if line.startswith("COMPONENT"))
    assert header.split() == ["COMPONENT", "LAYER", "STATE", "PID", "RESTARTS", "SINCE", "ERROR"]
    web = next(line.split() for line in lines if line.startswith("web "))
    assert web[1:3] == ["core", "running"]
    assert int(web[3]) == shared.component("web")["pid"]


def test_a_degraded_mission_says_so_and_still_counts_as_running(shared: Folder) -> None:
    done = shared.razar("status")
    assert "degraded: broken is quarantined" in done.stdout
    assert "exited with code 3 before it was healthy" in done.stdout


def test_json_has_what_the_state_file_has_and_the_supervisor(shared: Folder) -> None:
    status = shared.json("status")
    assert shared.process is not None
    assert status["running"] is True
    assert status["supervisor"]["pid"] == shared.process.pid
    assert status["supervisor"]["optional"] == ["broken"]
    assert [entry["state"] for entry in status["components"]] == ["running", "running", "quarantined"]
    assert status["quarantine"] == ["broken"]
    assert any(entry["step"] == "launch" for entry in status["events"])
    assert status["last_boot"] is not None


def test_ids_choose_and_show_more(shared: Folder) -> None:
    done = shared.razar("status", "worker")
    assert "\nweb " not in done.stdout
    assert "incarnation 1, log logs/components/worker/current.log" in done.stdout
    assert [entry["id"] for entry in shared.json("status", "broken", "web")["components"]] == [
        "web",
        "broken",
    ]


def test_an_unknown_id_is_bad_usage_and_gets_the_nearest_name(shared: Folder) -> None:
    done = shared.razar("status", "workr")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "razar: there is no component 'workr'; did you mean worker?\n"


def test_the_logs_folder_is_found_beside_the_configuration(shared: Folder, tmp_path: Path) -> None:
    assert razar(tmp_path, "status").returncode == 3
    assert razar(tmp_path, "--config", str(shared.path / "boot_config.json"), "status").returncode == 0
    assert razar(tmp_path, "status", "--logs", str(shared.logs)).returncode == 0


def test_a_mission_that_fails_says_what_is_failing(tmp_path: Path) -> None:
    with running(
        tmp_path,
        component("web", "echo ready; exec sleep 1000", restart={"policy": "never"}),
        component("other", "echo ready; exec sleep 1000"),
    ) as folder:
        os.kill(folder.component("web")["pid"], signal.SIGKILL)
        until_sync(lambda: folder.component("web")["state"] == "failed")
        done = folder.razar("status")
    assert done.returncode == 0
    assert "failing: web is failed (killed by SIGKILL)" in done.stdout


def test_nothing_ever_ran_here(tmp_path: Path) -> None:
    done = razar(tmp_path, "status")
    assert done.returncode == 3
    assert "no mission runs with the logs folder logs" in done.stderr
    assert json.loads(razar(tmp_path, "status", "--json").stdout) == {
        "running": False,
        "supervisor": None,
        "ended": None,
    }


def test_a_stopped_mission_tells_how_and_when_it_ended(own: Folder) -> None:
    assert own.razar("stop").returncode == 0
    done = own.razar("status")
    assert done.returncode == 3
    assert "mission demo: not running" in done.stdout
    assert "it was stopped, after a complete boot" in done.stdout
    assert own.json("status")["ended"]["clean"] is True
    assert own.razar("status", "nobody").returncode == 2


def test_a_mission_of_which_much_was_told_after_its_boot_is_not_said_to_have_ended_before(
    own: Folder,
) -> None:
    assert own.razar("stop").returncode == 0
    path = own.logs / "razar_state.json"
    state = json.loads(path.read_text())
    end = state["events"][-1]
    path.write_text(json.dumps(state | {"events": [end | {"component": "web"}] * 99 + [end]}))
    assert re.search(r"it was stopped [^,]+ ago", own.razar("status").stdout)
    path.write_text(json.dumps(state | {"events": [end]}))
    assert "it was stopped, before its boot had ended" in own.razar("status").stdout


def test_a_killed_supervisor_is_told_and_stop_ends_what_it_left_behind(own: Folder) -> None:
    pids = {id: own.component(id)["pid"] for id in ("web", "worker")}
    # Each has said that it is ready before it became what it is from then on.
    until_sync(lambda: {procfs.command(pid) for pid in pids.values()} == {"sleep 1000"})
    own.kill()
    done = own.razar("status")
    ended = own.json("status")["ended"]
    doctor = own.razar("doctor")
    stop = own.razar("stop")
    assert done.returncode == 3
    assert "its supervisor ended without stopping it" in done.stdout
    assert f"still there, without a supervisor: web (pid {pids['web']}: sleep 1000)" in done.stdout
    assert ended["clean"] is False
    assert ended["leftovers"] == {id: [pid] for id, pid in pids.items()}
    assert (
        f"warn    leftovers      still there from a boot that died: web (pid {pids['web']}" in doctor.stdout
    )
    assert (stop.returncode, "stopped what was left of web, worker" in stop.stdout) == (0, True)
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in pids.values())
    assert "left behind" not in own.razar("stop").stderr


def test_a_supervisor_that_does_not_answer_is_neither_running_nor_not(own: Folder) -> None:
    assert own.process is not None
    lock = own.logs / "razar.lock"
    own.razar("stop")
    held = MissionLock(str(lock))
    held.acquire()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(own.logs / "razar.sock"))
        done = own.razar("status")
    held.release()
    assert done.returncode == 4
    assert f"supervisor (pid {os.getpid()}) has no control socket" in done.stderr
    assert "last known states:" in done.stdout


def test_a_state_file_that_is_none_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    state = tmp_path / "logs" / "razar_state.json"
    for text in ("", "{", "[]", '{"components": 3}', '{"components": [7]}', "[" * 100_000, "\0"):
        state.write_text(text)
        done = razar(tmp_path, "status")
        assert (done.returncode, "is no snapshot of a mission" in done.stderr) == (3, True), text[:20]
        assert "Traceback" not in done.stderr
        assert state.read_text() == text


def test_a_pipe_in_the_place_of_the_state_file_is_told_and_hangs_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.logs.mkdir()
    os.mkfifo(folder.logs / "razar_state.json")
    for verb in (("status",), ("logs",), ("doctor",), ("quarantine", "release", "a")):
        done = folder.razar(*verb)
        assert "Traceback" not in done.stderr, done.stderr
    assert "not a regular file" in folder.razar("status").stderr


def test_a_supervisor_whose_places_are_all_taken_does_not_answer(own: Folder) -> None:
    clients = [socket.socket(socket.AF_UNIX) for _ in range(CLIENTS)]
    try:
        for client in clients:
            client.connect(str(own.logs / "razar.sock"))
        for verb in (("status",), ("restart", "web")):
            done = own.razar(*verb)
            assert done.returncode == 4 and "clients are connected already" in done.stderr, (verb, done)
        assert "last known states" in own.razar("status").stdout
    finally:
        for client in clients:
            client.close()
