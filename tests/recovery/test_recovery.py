"""The recovery loop in a real boot: a bug in a component's source is repaired by an agent over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.agents.server import Request, serving
from tests.boot.mission import Mission, service
from tests.environments import packages
from tests.recovery.support import (
    FIX,
    MENDED,
    SOURCE,
    USELESS,
    broken,
    invocations,
    mend,
    patches,
    proposal,
    repaired_by,
)
from tests.support.waiting import until_sync


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
        mission.wait_for_state("other", "running")
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
        until_sync(lambda: mission.log.count("INFO Health check passed for service") == 2)
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
        until_sync(lambda: [record["patched"] for record in invocations(mission)] == [True])
        mission.wait_for_state("service", "running")
        assert "health check" in invocations(mission)[0]["error"]
        assert mission.component("other")["pid"] == pid
        assert mission.stop() == 0
    assert (tmp_path / "src/service.py").read_text().startswith("FIXED = True")


def test_a_stop_does_not_wait_for_a_silent_agent_and_leaves_the_files(tmp_path: Path) -> None:
    asked = threading.Event()

    def silent(connection: socket.socket, request: Request, released: threading.Event) -> None:
        asked.set()
        released.wait(100)

    mission = Mission(tmp_path, broken(tmp_path))
    with serving(silent) as server:
        repaired_by(mission, server).start()
        assert asked.wait(60)
        mission.signal(signal.SIGTERM)
        assert mission.wait() == 143, mission.err
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert "RAZAR" not in mission.err and "asyncio" not in mission.err
    assert not mission.processes()


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


@pytest.mark.parametrize("says", ["component", "mission"])
def test_a_missing_dependency_is_added_to_its_layer_which_is_built_anew(tmp_path: Path, says: str) -> None:
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
    settings = {}
    if says == "mission":
        del component["repair"]
        settings["repair"] = {"approval": "auto"}
    mission = Mission(folder, component, **settings)
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
