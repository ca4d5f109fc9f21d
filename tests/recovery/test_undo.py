"""Patches that are undone by a stop or a start, and those that resist."""

from __future__ import annotations

from pathlib import Path

from tests.agents.server import serving
from tests.boot.mission import Mission
from tests.recovery.support import (
    MENDED,
    SOURCE,
    broken,
    invocations,
    mend,
    patches,
    proposal,
    repaired_by,
)
from tests.support.waiting import until_sync

#: What the patched program does makes its file unwritable: a folder with something in it has its name.
HARMFUL = (
    "    import os; os.rename('src/service.py', 'src/away'); os.makedirs('src/service.py/x'); return 1 / 0\n"
)


def test_a_patch_on_trial_is_undone_when_razar_is_killed(tmp_path: Path, missions: list[Mission]) -> None:
    slow = "    import time; time.sleep(1000)\n"  # Neither healthy nor dead.
    mission = Mission(tmp_path, broken(tmp_path))
    missions.append(mission)
    with serving(mend(proposal(new=slow), proposal())) as server:
        repaired_by(mission, server).start()
        until_sync(lambda: slow in (tmp_path / "src/service.py").read_text())
        mission.wait_for_state("service", "igniting")
        assert mission.process is not None
        mission.process.kill()
        mission.process.wait()
        assert mission.boot() == 0, (mission.log, mission.err)
    assert (tmp_path / "src/service.py").read_text() == MENDED
    statuses = [entry["status"] for entry in patches(mission)]
    assert statuses == ["applied", "rolled_back", "applied"]


def test_a_patch_that_cannot_be_undone_is_told_as_such_and_undone_by_the_next_start(
    tmp_path: Path, missions: list[Mission]
) -> None:
    mission = Mission(tmp_path, broken(tmp_path))
    missions.append(mission)
    with serving(mend(proposal(new=HARMFUL))) as server:
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
    tmp_path: Path, degradable: Mission
) -> None:
    with serving(mend(proposal(new=HARMFUL))) as server:
        repaired_by(degradable, server).start("--remote-attempts", "1")
        degradable.wait_for_state("service", "quarantined")
        (tmp_path / "src/service.py/x").rmdir()
        (tmp_path / "src/service.py").rmdir()
        assert degradable.stop() == 0, degradable.err
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert any("is undone after all" in line for line in degradable.log)


def test_a_start_that_cannot_record_what_it_undoes_says_so_and_boots(
    tmp_path: Path, degradable: Mission
) -> None:
    slow = "    import time; time.sleep(1000)\n"
    with serving(mend(proposal(new=slow))) as server:
        repaired_by(degradable, server).start()
        until_sync(lambda: slow in (tmp_path / "src/service.py").read_text())
        degradable.wait_for_state("service", "igniting")
        assert degradable.process is not None
        degradable.process.kill()
        degradable.process.wait()
    record = degradable.logs / "razar_ai_patches.json"
    record.unlink()
    record.mkdir()
    assert degradable.boot("--no-repair") == 0, degradable.err
    assert (tmp_path / "src/service.py").read_text() == SOURCE
    assert any("razar_ai_patches.json: Is a directory" in line for line in degradable.log)
