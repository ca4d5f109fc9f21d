"""Patches that wait for an operator, in a real boot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.agents.server import serving
from tests.boot.mission import Mission, service
from tests.environments import packages
from tests.recovery.support import (
    MENDED,
    SOURCE,
    broken,
    invocations,
    mend,
    patches,
    repaired_by,
)
from tests.support.waiting import until_sync


def test_with_approval_the_mission_goes_on_and_the_patch_waits(
    tmp_path: Path, missions: list[Mission]
) -> None:
    component = broken(tmp_path, repair={"paths": ["src/service.py"], "approval": "ask"})
    mission = Mission(tmp_path, component, service("other"), service("needs", depends_on=["service"]))
    missions.append(mission)
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        until_sync(lambda: any(line.startswith("ERROR Mission demo failed") for line in mission.log))
        mission.wait_for_state("needs", "blocked")
        mission.wait_for_state("other", "running")
        assert (tmp_path / "src/service.py").read_text() == SOURCE
        (id,) = [entry["id"] for entry in patches(mission)]
        assert id in mission.component("service")["error"]
        done = mission.run("razar", "repairs", "approve", id)
        assert done.returncode == 0 and "kept" in done.stdout, done
        mission.wait_for_state("needs", "running")
        assert (tmp_path / "src/service.py").read_text() == MENDED
        # It fails again without the patch, and what was undone is not proposed anew with success.
        assert mission.run("razar", "repairs", "rollback", id, "--timeout", "1").returncode == 1
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
        until_sync(lambda: id in (mission.component("service").get("error") or ""))
        assert len(server.requests) == 1
        done = mission.run("razar", "repairs", "approve", id)
        assert done.returncode == 0 and "kept, service is running" in done.stdout, done
        assert mission.stop() == 0
    assert (tmp_path / "src/service.py").read_text() == MENDED


def test_a_rejected_patch_ends_in_quarantine(tmp_path: Path, missions: list[Mission]) -> None:
    mission = Mission(tmp_path, broken(tmp_path), repair={"approval": "ask"})
    missions.append(mission)
    with serving(mend()) as server:
        repaired_by(mission, server).start()
        id = wait_for_approval(mission)
        done = mission.run("razar", "repairs", "reject", id, "--note", "not like this")
        assert done.returncode == 0, done
        assert mission.wait() == 1
    assert "not like this" in mission.component("service")["error"]
    assert (tmp_path / "src/service.py").read_text() == SOURCE


def wait_for_approval(mission: Mission) -> str:
    """Wait until a patch waits for the operator; return its id."""
    until_sync(lambda: patches(mission))
    until_sync(lambda: (mission.component("service").get("error") or "").count("waits for approval"))
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
        refused = mission.run("razar", "repairs", "approve", id)
        assert refused.returncode == 1 and "was changed after the proposal was made" in refused.stderr
        assert f"approve {id} again, or reject it" in refused.stderr
        assert mission.run("razar", "repairs", "approve", id).stderr == refused.stderr
        assert source.read_text() == SOURCE + "# mine\n"
        source.write_text(SOURCE)
        done = mission.run("razar", "repairs", "approve", id)
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
        refused = mission.run("razar", "repairs", "approve", id)
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
        assert mission.run("razar", "repairs", "reject", id).returncode == 0
        mission.wait_for_state("service", "quarantined")
        again = mission.run("razar", "restart", "service")
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
        done = mission.run("razar", "repairs", "approve", id)
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
        until_sync(lambda: any(path.endswith(".whl") for path in index.requests))
        assert mission.run("razar", "repairs", "rollback", id).returncode == 1, "one decision at a time"
        assert mission.run("razar", "stop", "service").returncode == 0
        index.gate.set()
        out, _ = approval.communicate(timeout=30)
        assert approval.returncode == 0 and "kept" in out, out
    assert "[humanize]" in (mission.folder / "razar_env.yaml").read_text()
    assert invocations(mission)[-1]["patched"] is True
