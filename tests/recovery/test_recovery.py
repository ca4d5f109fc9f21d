"""The recovery loop in a real boot: a bug in a component's source is repaired by an agent over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agents.server import Request, serving
from tests.boot.mission import Mission, service
from tests.environments import packages
from tests.recovery.support import FIX, SOURCE, broken, invocations, mend, patches, proposal, repaired_by
from tests.support.waiting import until_sync

MENDED = SOURCE.replace('NAMES["raedy"]', 'NAMES["ready"]')
#: Changes the file, and still fails.
USELESS = '    return NAMES["readyy"]\n'


@pytest.fixture
def missions() -> Iterator[list[Mission]]:
    """Whatever a test starts is stopped."""
    started: list[Mission] = []
    yield started
    for mission in started:
        if mission.process is not None and mission.process.poll() is None:
            mission.process.kill()
            mission.process.wait()
            mission.boot("--no-repair")  # Ends what the killed one left behind.


def razar(mission: Mission, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "razar", *argv],
        cwd=mission.folder,
        env=mission.environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_bug_is_repaired_and_the_mission_completes(tmp_path: Path) -> None:
    mission = Mission(tmp_path, broken(tmp_path), service("other"))
    os.chmod(tmp_path / "src/service.py", 0o640)
    with serving(mend()) as server:
        assert repaired_by(mission, server).boot() == 0, (mission.log, mission.err)
    assert "ERROR Health check failed for service" in mission.log
    assert "INFO Mission demo complete" in mission.log
    assert (tmp_path / "src/service.py").read_text() == MENDED
    assert stat.S_IMODE(os.stat(tmp_path / "src/service.py").st_mode) == 0o640
    (record,) = invocations(mission)
    assert record["component"] == "service" and record["attempt"] == 1 and record["agent"] == "kimi2"
    assert record["patched"] is True and record["status"] == "success" and record["tokens"] == 120
    assert [entry["status"] for entry in patches(mission)] == ["applied"]
    assert record["patch_id"] == patches(mission)[0]["id"]
    assert '+    return NAMES["ready"]' in patches(mission)[0]["diff"]


def test_a_patch_that_does_not_help_is_undone_before_the_next_attempt(tmp_path: Path) -> None:
    mission = Mission(tmp_path, broken(tmp_path))
    with serving(mend(proposal(new=USELESS), proposal())) as server:
        assert repaired_by(mission, server).boot() == 0, (mission.log, mission.err)
        second = server.requests[1].json
    assert (tmp_path / "src/service.py").read_text() == MENDED
    assert [entry["patched"] for entry in invocations(mission)] == [False, True]
    assert [entry["attempt"] for entry in invocations(mission)] == [1, 2]
    assert [entry["status"] for entry in patches(mission)] == ["applied", "rolled_back", "applied"]
    told = "\n".join(str(message["content"]) for message in second["messages"])
    assert "exited with code 1" in told and "kimi2" in told, "the first attempt is in the history"
    assert 'NAMES["raedy"]' in told, "the source it is shown is the one without the first patch"


def test_what_cannot_be_repaired_is_quarantined_with_a_packet_and_the_rest_runs(tmp_path: Path) -> None:
    mission = Mission(tmp_path, broken(tmp_path, criticality="optional"), service("other"))
    before = (tmp_path / "src/service.py").read_bytes()
    with serving(mend(proposal(new=USELESS), proposal(new='    return NAMES["rdy"]\n'))) as server:
        repaired_by(mission, server).start("--remote-attempts", "2")
        mission.wait_for_state("service", "quarantined")
        assert mission.component("other")["state"] == "running"
        assert mission.stop() == 0
    assert (tmp_path / "src/service.py").read_bytes() == before
    (packet,) = (mission.logs / "repairs").glob("*/packet.md")
    assert "kimi2" in packet.read_text()
    assert str(packet.parent.relative_to(tmp_path)) in mission.component("service")["error"]
    assert "| service |" in (tmp_path / "docs/quarantine_log.md").read_text()


def test_one_that_dies_later_is_repaired_while_the_others_run_on(
    tmp_path: Path, missions: list[Mission]
) -> None:
    # Healthy at first; the bug comes to light when the file appears.
    source = (
        "import os, time\nprint('ready', flush=True)\nwhile True:\n"
        "    if os.path.exists('poke') and not FIXED:\n        raise KeyError('poke')\n    time.sleep(0.01)\n"
    )
    component = broken(tmp_path, restart={"limit": 0, "backoff": 0})
    (tmp_path / "src/service.py").write_text("FIXED = False\n" + source)
    mission = Mission(tmp_path, component, service("other"))
    missions.append(mission)
    with serving(mend(proposal(old="FIXED = False\n", new="FIXED = True\n"))) as server:
        repaired_by(mission, server).start()
        mission.wait_for_line("INFO Mission demo complete")
        pid = mission.wait_for_state("other", "running")["pid"]
        (tmp_path / "poke").touch()
        until_sync(lambda: mission.log.count("INFO Health check passed for service") == 2, 20)
        mission.wait_for_state("service", "running")
        assert mission.component("other")["pid"] == pid
        assert mission.stop() == 0
    assert (tmp_path / "src/service.py").read_text().startswith("FIXED = True")


def test_one_that_turns_unhealthy_is_stopped_repaired_and_relaunched(
    tmp_path: Path, missions: list[Mission]
) -> None:
    # It lives on, but does no longer answer as it should once the file appears.
    source = (
        "FIXED = False\nimport os, time\nif os.path.exists('sick'):\n    os.unlink('sick')\n"
        "while True:\n    if os.path.exists('poke') and not FIXED:\n        open('sick', 'w').close()\n"
        "    time.sleep(0.01)\n"
    )
    health = {"cmd": "test ! -e sick", "interval": "100ms", "failures": 1}
    component = broken(tmp_path, restart={"limit": 0, "backoff": 0}, health=health)
    (tmp_path / "src/service.py").write_text(source)
    mission = Mission(tmp_path, component, service("other"))
    missions.append(mission)
    with serving(mend(proposal(old="FIXED = False\n", new="FIXED = True\n"))) as server:
        repaired_by(mission, server).start()
        mission.wait_for_line("INFO Mission demo complete")
        pid = mission.wait_for_state("other", "running")["pid"]
        (tmp_path / "poke").touch()
        until_sync(lambda: [record["patched"] for record in invocations(mission)] == [True], 20)
        mission.wait_for_state("service", "running")
        assert "health check" in invocations(mission)[0]["error"]
        assert mission.component("other")["pid"] == pid
        assert mission.stop() == 0
    assert (tmp_path / "src/service.py").read_text().startswith("FIXED = True")


def test_with_approval_the_mission_goes_on_and_the_patch_waits(
    tmp_path: Path, missions: list[Mission]
) -> None:
    component = broken(tmp_path, repair={"paths": ["src/service.py"], "approval": "ask"})
    mission = Mission(tmp_path, component, service("other"), service("needs", depends_on=["service"]))
    missions.append(mission)
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        until_sync(lambda: any(line.startswith("ERROR Mission demo failed") for line in mission.log), 20)
        assert mission.wait_for_state("needs", "blocked") and mission.component("other")["state"] == "running"
        assert (tmp_path / "src/service.py").read_text() == SOURCE
        (id,) = [entry["id"] for entry in patches(mission)]
        assert id in mission.component("service")["error"]
        done = razar(mission, "repairs", "approve", id)
        assert done.returncode == 0 and "kept" in done.stdout, done
        mission.wait_for_state("needs", "running")
        assert (tmp_path / "src/service.py").read_text() == MENDED
        # It fails again without the patch, and what was undone is not proposed anew with success.
        assert razar(mission, "repairs", "rollback", id, "--timeout", "1").returncode == 1
        assert (tmp_path / "src/service.py").read_text() == SOURCE
        mission.stop()


def test_a_patch_that_waits_outlives_the_boot_and_nobody_is_asked_again(
    tmp_path: Path, missions: list[Mission]
) -> None:
    mission = Mission(tmp_path, broken(tmp_path), repair={"approval": "ask"})
    missions.append(mission)
    with serving(mend()) as server:
        assert repaired_by(mission, server).boot() == 1
        (id,) = [entry["id"] for entry in patches(mission)]
        repaired_by(mission, server).start()
        until_sync(lambda: id in (mission.component("service").get("error") or ""), 20)
        assert len(server.requests) == 1
        done = razar(mission, "repairs", "approve", id)
        assert done.returncode == 0 and "kept, service is running" in done.stdout, done
        assert mission.stop() == 0
    assert (tmp_path / "src/service.py").read_text() == MENDED


def test_a_rejected_patch_ends_in_quarantine(tmp_path: Path, missions: list[Mission]) -> None:
    mission = Mission(tmp_path, broken(tmp_path), repair={"approval": "ask"})
    missions.append(mission)
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        until_sync(lambda: patches(mission), 20)
        until_sync(lambda: mission.component("service").get("error", "").count("waits for approval"), 20)
        done = razar(mission, "repairs", "reject", patches(mission)[0]["id"], "--note", "not like this")
        assert done.returncode == 0, done
        assert mission.wait() == 1
    assert "not like this" in mission.component("service")["error"]
    assert (tmp_path / "src/service.py").read_text() == SOURCE


def test_a_stop_does_not_wait_for_a_silent_agent_and_leaves_the_files(tmp_path: Path) -> None:
    asked = threading.Event()

    def silent(connection: socket.socket, request: Request, released: threading.Event) -> None:
        asked.set()
        released.wait(30)

    mission = Mission(tmp_path, broken(tmp_path))
    with serving(silent) as server:
        repaired_by(mission, server).start()
        assert asked.wait(20)
        mission.signal(signal.SIGTERM)
        assert mission.wait(5) == 143, mission.err
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert "RAZAR" not in mission.err and "asyncio" not in mission.err
    assert not mission.processes()


def test_a_patch_on_trial_is_undone_when_razar_is_killed(tmp_path: Path, missions: list[Mission]) -> None:
    slow = "    import time; time.sleep(1000)\n"  # Neither healthy nor dead.
    mission = Mission(tmp_path, broken(tmp_path))
    missions.append(mission)
    with serving(mend(proposal(new=slow), proposal())) as server:
        repaired_by(mission, server).start()
        until_sync(lambda: slow in (tmp_path / "src/service.py").read_text(), 20)
        mission.wait_for_state("service", "igniting")
        assert mission.process is not None
        mission.process.kill()
        mission.process.wait()
        assert mission.boot() == 0, (mission.log, mission.err)
    assert (tmp_path / "src/service.py").read_text() == MENDED
    statuses = [entry["status"] for entry in patches(mission)]
    assert statuses == ["applied", "rolled_back", "applied"]


def test_a_known_fault_is_repaired_from_memory_without_any_agent(tmp_path: Path) -> None:
    pytest.importorskip("neoabzu_memory")
    mission = Mission(tmp_path, broken(tmp_path))
    with serving(mend()) as server:
        assert repaired_by(mission, server).boot() == 0
    (tmp_path / "src/service.py").write_text(SOURCE)
    mission.environment.clear()
    assert mission.boot() == 0, (mission.log, mission.err)
    assert (tmp_path / "src/service.py").read_text() == MENDED
    assert [entry["agent"] for entry in invocations(mission)] == ["kimi2", "memory"]
    assert invocations(mission)[-1]["patched"] is True


def test_without_permission_a_suggestion_is_shown_and_nothing_is_changed(tmp_path: Path) -> None:
    component = broken(tmp_path)
    del component["repair"]
    mission = Mission(tmp_path, component)
    with serving(mend()) as server:
        assert repaired_by(mission, server).boot() == 1
        assert len(server.requests) == 1
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert [entry["status"] for entry in patches(mission)] == ["proposed"]
    assert mission.state["quarantine"] == ["service"]


def test_with_no_repair_and_without_agents_a_failure_is_quarantined_at_once(tmp_path: Path) -> None:
    mission = Mission(tmp_path, broken(tmp_path))
    with serving(mend()) as server:
        assert repaired_by(mission, server).boot("--no-repair") == 1
        assert not server.requests
    assert not any("handed to repair" in line for line in mission.log)
    assert FIX not in (tmp_path / "src/service.py").read_text()


def test_a_missing_dependency_is_added_to_its_layer_which_is_built_anew(tmp_path: Path) -> None:
    wheels, folder = tmp_path / "wheels", tmp_path / "mission"
    wheels.mkdir()
    folder.mkdir()
    packages.make_wheel(wheels, "humanize")
    environment = (
        "environments:\n  # The layer of the service.\n"
        "  - layer: core\n    python: '>=3.11'\n    dependencies: []\n"
    )
    (folder / "razar_env.yaml").write_text(environment)
    component = broken(folder)
    (folder / "src/service.py").write_text(
        "import humanize, time\nprint('ready', flush=True)\ntime.sleep(1000)\n"
    )
    mission = Mission(folder, component)
    with packages.serve(wheels) as index:
        mission.environment |= {"UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": str(tmp_path / "cache")}
        assert mission.boot() == 0, (mission.log, mission.err)
    changed = (folder / "razar_env.yaml").read_text()
    assert "[humanize]" in changed and "# The layer of the service." in changed
    assert [(r["agent"], r["patched"]) for r in invocations(mission)] == [("local", True)]
    assert any("+    dependencies: [humanize]" in line for line in mission.log)
    assert mission.log.count("INFO Mission demo complete") == 1
    # The next boot starts from it: nothing to repair, nothing to build.
    assert mission.boot("--offline") == 0
    assert len(invocations(mission)) == 1


def test_a_dependency_that_cannot_be_had_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    wheels, folder = tmp_path / "wheels", tmp_path / "mission"
    wheels.mkdir()
    folder.mkdir()
    environment = "environments:\n  - {layer: core, python: '>=3.11', dependencies: []}\n"
    (folder / "razar_env.yaml").write_text(environment)
    component = broken(folder)
    (folder / "src/service.py").write_text("import humanize\n")
    mission = Mission(folder, component)
    with packages.serve(wheels) as index:
        mission.environment |= {"UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": str(tmp_path / "cache")}
        assert mission.boot() == 1
    assert (folder / "razar_env.yaml").read_text() == environment
    assert [(r["agent"], r["patched"]) for r in invocations(mission)] == [("local", False)]
    assert "humanize" in invocations(mission)[0]["reason"]


def test_a_patch_that_cannot_be_undone_is_told_as_such_and_undone_by_the_next_start(
    tmp_path: Path, missions: list[Mission]
) -> None:
    # What the patched program does makes its file unwritable: a folder with something in it has its name.
    harmful = "    import os; os.rename('src/service.py', 'src/away'); os.makedirs('src/service.py/x'); return 1 / 0\n"
    mission = Mission(tmp_path, broken(tmp_path))
    missions.append(mission)
    with serving(mend(proposal(new=harmful))) as server:
        assert repaired_by(mission, server).boot("--remote-attempts", "1") == 1
    (id,) = {entry["id"] for entry in patches(mission)}
    told = [line for line in mission.log if f"repair {id} could not be undone" in line]
    assert told and told[0].startswith("ERROR service: ") and f"`razar repairs rollback {id}`" in told[0]
    assert not any("is undone" in line or "after all" in line for line in mission.log)
    assert [entry["status"] for entry in patches(mission)] == ["applied"]
    (record, _) = invocations(mission)  # The second says that it is the operator's turn.
    assert record["patched"] is False and "could not be undone" in record["reason"]

    # A start that cannot do it either says so, and boots what it can.
    mission.environment.clear()
    assert mission.boot() == 1
    assert "Traceback (most recent call last)" not in mission.err
    assert sum(f"repair {id} could not be undone" in line for line in mission.log) == 2

    (tmp_path / "src/service.py/x").rmdir()
    (tmp_path / "src/service.py").rmdir()
    mission.boot()
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert any(f"the repair {id} was undone" in line for line in mission.log)
    assert [entry["status"] for entry in patches(mission)] == ["applied", "rolled_back"]
    assert [r["event"] for r in invocations(mission)].count("attempt") == 1, "the attempt is recorded once"


def test_a_patch_that_could_be_undone_only_later_is_undone_at_the_end(
    tmp_path: Path, missions: list[Mission]
) -> None:
    harmful = "    import os; os.rename('src/service.py', 'src/away'); os.makedirs('src/service.py/x'); return 1 / 0\n"
    mission = Mission(tmp_path, broken(tmp_path, criticality="optional"), service("other"))
    missions.append(mission)
    with serving(mend(proposal(new=harmful))) as server:
        repaired_by(mission, server).start("--remote-attempts", "1")
        mission.wait_for_state("service", "quarantined")
        (tmp_path / "src/service.py/x").rmdir()
        (tmp_path / "src/service.py").rmdir()
        assert mission.stop() == 0, mission.err
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert any("is undone after all" in line for line in mission.log)


def test_a_start_that_cannot_record_what_it_undoes_says_so_and_boots(
    tmp_path: Path, missions: list[Mission]
) -> None:
    slow = "    import time; time.sleep(1000)\n"
    mission = Mission(tmp_path, broken(tmp_path, criticality="optional"), service("other"))
    missions.append(mission)
    with serving(mend(proposal(new=slow))) as server:
        repaired_by(mission, server).start()
        until_sync(lambda: slow in (tmp_path / "src/service.py").read_text(), 20)
        mission.wait_for_state("service", "igniting")
        assert mission.process is not None
        mission.process.kill()
        mission.process.wait()
    record = mission.logs / "razar_ai_patches.json"
    record.unlink()
    record.mkdir()
    assert mission.boot("--no-repair") == 0, mission.err
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert any("razar_ai_patches.json: Is a directory" in line for line in mission.log)


def wait_for_approval(mission: Mission) -> str:
    """Wait until a patch waits for the operator; return its id."""
    until_sync(lambda: patches(mission), 20)
    until_sync(lambda: (mission.component("service").get("error") or "").count("waits for approval"), 20)
    return str(patches(mission)[0]["id"])


def test_a_patch_whose_file_has_changed_goes_on_waiting_until_it_fits_or_is_rejected(
    tmp_path: Path, missions: list[Mission]
) -> None:
    mission = Mission(tmp_path, broken(tmp_path), service("other"), repair={"approval": "ask"})
    missions.append(mission)
    source = tmp_path / "src/service.py"
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        id = wait_for_approval(mission)
        source.write_text(SOURCE + "# mine\n")
        refused = razar(mission, "repairs", "approve", id)
        assert refused.returncode == 1 and "was changed after the proposal was made" in refused.stderr
        assert f"approve {id} again, or reject it" in refused.stderr
        assert razar(mission, "repairs", "approve", id).stderr == refused.stderr
        assert source.read_text() == SOURCE + "# mine\n"
        source.write_text(SOURCE)
        done = razar(mission, "repairs", "approve", id)
        assert done.returncode == 0 and "kept, service is running" in done.stdout, done
        mission.stop()
    assert source.read_text() == MENDED


def test_a_patch_that_can_no_longer_be_approved_does_not_park_its_component(
    tmp_path: Path, missions: list[Mission]
) -> None:
    mission = Mission(tmp_path, broken(tmp_path), service("other"), repair={"approval": "ask"})
    missions.append(mission)
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        id = wait_for_approval(mission)
        (mission.logs / "repairs" / id / "patched" / "0").write_text("damaged\n")
        refused = razar(mission, "repairs", "approve", id)
        assert refused.returncode == 1 and "damaged" in refused.stderr, refused
        mission.wait_for_state("service", "quarantined")
        assert "damaged" in mission.component("service")["error"]
        mission.stop()
    assert (tmp_path / "src/service.py").read_text() == SOURCE


def test_after_a_rejection_the_error_no_longer_says_that_the_patch_waits(
    tmp_path: Path, missions: list[Mission]
) -> None:
    mission = Mission(tmp_path, broken(tmp_path), service("other"), repair={"approval": "ask", "attempts": 1})
    missions.append(mission)
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        id = wait_for_approval(mission)
        assert razar(mission, "repairs", "reject", id).returncode == 0
        mission.wait_for_state("service", "quarantined")
        again = razar(mission, "restart", "service")
        assert again.returncode == 1 and "exited with code 1" in again.stderr, again
        assert "waits" not in again.stderr and id not in again.stderr, again
        mission.stop()


@contextmanager
def waiting_dependency(
    tmp_path: Path, missions: list[Mission]
) -> Iterator[tuple[Mission, packages.Index, str]]:
    """A mission whose component lacks a package; that it is added waits for approval."""
    wheels, folder = tmp_path / "wheels", tmp_path / "mission"
    wheels.mkdir()
    folder.mkdir()
    packages.make_wheel(wheels, "humanize")
    (folder / "razar_env.yaml").write_text(
        "environments:\n  - {layer: core, python: '>=3.11', dependencies: []}\n"
    )
    component = broken(folder, repair={"paths": ["src/service.py"], "approval": "ask"})
    source = "import humanize, time\nprint('ready', flush=True)\ntime.sleep(1000)\n"
    (folder / "src/service.py").write_text(source)
    mission = Mission(folder, component, service("other", layer="plain"))
    missions.append(mission)
    with packages.serve(wheels) as index:
        mission.environment |= {"UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": str(tmp_path / "cache")}
        mission.start()
        yield mission, index, wait_for_approval(mission)
        mission.stop()


def test_an_approved_dependency_is_built_before_its_component_is_started_anew(
    tmp_path: Path, missions: list[Mission]
) -> None:
    with waiting_dependency(tmp_path, missions) as (mission, _, id):
        done = razar(mission, "repairs", "approve", id)
        assert done.returncode == 0 and "kept, service is running" in done.stdout, done
    record = invocations(mission)[-1]
    assert record["patched"] is True and record["error"].startswith("exited with code 1")


def test_what_is_stopped_while_its_layer_is_rebuilt_does_not_leave_its_patch_unjudged(
    tmp_path: Path, missions: list[Mission]
) -> None:
    with waiting_dependency(tmp_path, missions) as (mission, index, id):
        index.gate.clear()
        approval = subprocess.Popen(
            [sys.executable, "-m", "razar", "repairs", "approve", id],
            cwd=mission.folder,
            env=mission.environ(),
            stdout=subprocess.PIPE,
            text=True,
        )
        until_sync(lambda: any(path.endswith(".whl") for path in index.requests), 20)
        assert razar(mission, "repairs", "rollback", id).returncode == 1, "one decision at a time"
        assert razar(mission, "stop", "service").returncode == 0
        index.gate.set()
        out, _ = approval.communicate(timeout=30)
        assert approval.returncode == 0 and "kept" in out, out
    assert "[humanize]" in (mission.folder / "razar_env.yaml").read_text()
    assert invocations(mission)[-1]["patched"] is True
