"""The machine sleeps, or its time is set: what is told has the new time, and what lasts lasts as long as before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from razar import runtime
from razar.engine import events
from tests.boot.mission import Mission, service
from tests.commands.support import component, house
from tests.support.waiting import until, until_sync

HOURS = 8 * 3600.0
#: The orchestrator on a machine whose time of day is eight hours ahead once there is a file named jump.
SET_AHEAD = """
import os, sys, time
real = time.time
time.time = lambda: real() + 28800 * os.path.exists("jump")
from razar.boot_orchestrator import main
sys.exit(main(sys.argv[1:]))
"""


class Machine:
    """The clocks of a machine whose time of day can be set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(runtime, "time", machine)
    return machine


@pytest.mark.parametrize("step", [HOURS, -HOURS])
def test_a_step_of_the_clock_is_followed_and_told_once(machine: Machine, step: float) -> None:
    told: list[float] = []
    clock = runtime.Clock(told.append)
    before = clock()
    machine.ahead = 0.5
    assert abs(clock() - before) < 0.4, "a short adjustment changes nothing"
    assert told == []
    machine.ahead = step
    assert abs(clock() - machine.time()) < 1.0
    clock()
    assert [round(moved / 3600) for moved in told] == [round(step / 3600)]


async def test_a_hold_ends_at_the_time_of_day_that_crown_named(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "HOLD_LOOK", 0.01)
    async with house(tmp_path, component("a"), component("b"), boot=False) as mission:
        mission.slow.add("b")
        held = {"a": ("maintenance", machine.time() + HOURS)}
        mission.runtime.report(events.IgnitionBegan(held=held))
        assert mission.state("a") == "held" and mission.state("b") == "igniting"
        machine.ahead = HOURS + 1
        await until(lambda: mission.state("a") == "running")
        assert mission.state("b") == "igniting", "its deadline of a minute has not passed"
        assert abs(mission.runtime.state.components["a"].since - machine.time()) < 1.0


def test_after_a_step_everything_a_running_mission_writes_has_the_new_time(
    mission: Callable[..., Mission],
) -> None:
    one = mission(service("a", restart={"backoff": 0}))
    one.process = subprocess.Popen(
        [sys.executable, "-c", SET_AHEAD, "--mission", "demo"],
        cwd=one.folder,
        env=one.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    one.wait_for_line("INFO Mission demo complete")
    before = one.wait_for_state("a", "running")
    (one.folder / "jump").touch()
    os.kill(before["pid"], signal.SIGKILL)
    after = until_sync(
        lambda: (c := one.component("a"))["incarnation"] == 2 and c["state"] == "running" and c
    )
    assert sum("clock has moved 28800 s ahead" in line for line in one.log) == 1
    stamp = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + HOURS - 60))
    assert after["since"][:13] >= stamp
    assert one.stop() == 0
    lines = (one.logs / "boot_orchestrator.log").read_text().splitlines()
    assert lines[-1][1:14] >= stamp and lines[0][1:14] < stamp
