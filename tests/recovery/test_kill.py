"""RAZAR is killed at a random instant of a repair: the tree is whole, and the next start repairs it."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from agents.razar.patching import journal
from tests.agents.server import serving
from tests.boot.mission import Mission
from tests.recovery.support import SOURCE, broken, invocations, mend, proposal, repaired_by
from tests.support.waiting import until_sync

#: `make test-kill` sets a larger number.
KILLS = int(os.environ.get("RAZAR_TEST_KILLS", "4"))
MENDED = SOURCE.replace('NAMES["raedy"]', 'NAMES["ready"]')
CHECK = 'assert "raedy" not in open("src/service.py").read()\n'


def test_a_kill_at_any_instant_of_a_repair_leaves_a_whole_tree_that_the_next_start_repairs(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    with serving(mend(proposal())) as server:
        for number in range(KILLS):
            folder = tmp_path / f"round{number}"
            folder.mkdir()
            repair = {"paths": ["src/service.py"], "tests": ["python checks/check.py"]}
            mission = repaired_by(Mission(folder, broken(folder, repair=repair)), server)
            (folder / "checks").mkdir()
            (folder / "checks/check.py").write_text(CHECK)
            source, logs = folder / "src/service.py", str(mission.logs)
            mission.start()
            mission.wait_for_line("WARN service: handed to repair")
            time.sleep(chance.uniform(0, 1.5))  # The random instant, not a wait.
            assert mission.process is not None
            mission.process.kill()
            mission.process.wait()
            where = f"seed {seed}, kill {number}"
            assert source.read_text() in (SOURCE, MENDED), where
            held = any(record["patched"] for record in invocations(mission))
            assert not held or source.read_text() == MENDED, where

            assert mission.boot() == 0, (where, mission.log, mission.err)
            assert source.read_text() == MENDED, where
            states = [journal.state_of(logs, id) for id in journal.known(logs)]
            assert states.count("kept") == 1, (where, states)
            assert set(states) <= {"kept", "rolled_back", "rejected", None}, (where, states)
            assert os.listdir(folder / "src") == ["service.py"], where
            until_sync(lambda mission=mission: not mission.processes())
