"""Breaking it on purpose, with seeds: interrupts, deaths and kills at instants nobody chose."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from razar.launchers import procfs
from tests.boot.checks import healthy_remains
from tests.boot.mission import Mission, script, service
from tests.support.waiting import until_sync

Make = Callable[..., Mission]

TEXTS = (
    "sleep 0.05; echo ready; exec sleep 1000",
    "setsid sleep 1000 & echo ready; exec sleep 1000",
    "trap '' TERM; echo ready; while :; do sleep 0.1; done",
    "sleep 0.05; exit 1",
    "exec sleep 1000",
    "echo ready; sleep 0.1; exit 2",
)


@pytest.mark.parametrize("seed", range(12))
def test_an_interrupt_at_any_instant_leaves_nothing(mission: Make, seed: int) -> None:
    chance = random.Random(seed)
    one = mission(
        *(
            script(
                f"c{number}",
                chance.choice(TEXTS),
                stop={"grace": "200ms"},
                restart={"backoff": "5ms", "limit": 3},
                retries=1,
                criticality=chance.choice(["required", "optional"]),
            )
            for number in range(6)
        ),
        ignition=chance.choice(["sequential", "parallel"]),
        crown=chance.choice([{"required_model": None}, {"policy": "off"}]),
    )
    one.start()
    until_sync(lambda: one.logs.exists())
    time.sleep(chance.random() * 0.4)  # The instant is the point.
    number = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    one.signal(number)
    if chance.random() < 0.5:
        one.signal(signal.SIGINT)
    # 130 even if SIGTERM came first: which of two signals is seen first is not ours to say.
    assert one.wait() in (0, 1, 128 + number, 130), one.err
    healthy_remains(one)


def test_deaths_of_many_for_a_while(mission: Make) -> None:
    chance = random.Random(1)
    text = "setsid sleep 1000 & sleep 1000 & echo ready; exec sleep 1000"
    restart = {"backoff": "1ms", "max_backoff": "20ms", "limit": 10_000}
    one = mission(*(script(f"c{n}", text, restart=restart) for n in range(20)), ignition="parallel").start()
    one.wait_for_line("INFO Mission demo complete")
    assert one.process is not None
    supervisor = one.process.pid

    def signal_some(pids: list[int], *numbers: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, chance.choice(numbers))

    for _ in range(25):
        others = [pid for pid in one.processes() if pid != supervisor]
        chosen = chance.sample(others, min(len(others), 8))
        signal_some(chosen, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV)
        time.sleep(chance.random() * 0.1)
        signal_some(others, signal.SIGCONT)
        assert one.process.poll() is None, one.err
    until_sync(lambda: {c["state"] for c in one.state["components"]} == {"running"})
    assert sum(c["restarts"] for c in one.state["components"]) > 20
    assert one.stop() == 0
    healthy_remains(one)


def test_supervisors_that_are_killed_one_after_the_other(mission: Make) -> None:
    chance = random.Random(1)
    components = [
        script(f"c{n}", f"setsid sleep 100{n} & echo ready; exec sleep 200{n}", stop={"grace": "200ms"})
        for n in range(6)
    ]
    hanging = {**script("probed", "exec sleep 1000"), "health": {"cmd": "sleep 3000", "timeout": "1m"}}
    one = mission(*components, hanging, ignition="parallel")
    for _ in range(6):
        one.start()
        time.sleep(chance.random() * 0.6)
        if chance.random() < 0.3:
            one.signal(signal.SIGTERM)
        one.stop(signal.SIGKILL)
    last = one.state["boot_id"] if (one.logs / "razar_state.json").exists() else None

    def ignited() -> bool:
        states = [one.component(f"c{n}").get("state") for n in range(6)]
        return states == ["running"] * 6 and one.state["boot_id"] != last

    one.start()
    until_sync(ignited)
    assert one.stop() == 143
    healthy_remains(one)


def test_an_interrupt_while_leftovers_are_stopped_does_not_forget_them(mission: Make) -> None:
    text = "trap '' TERM; echo ready; while ! test -e go; do sleep 0.01; done"
    one = mission(script("a", text, stop={"grace": "1m"})).start()
    pid = one.wait_for_state("a", "running")["pid"]
    one.stop(signal.SIGKILL)

    def told() -> int:
        return sum("is left over from a supervisor" in line for line in one.log)

    one.start()
    until_sync(lambda: told() == 1)
    assert one.stop(signal.SIGTERM) == 143
    one = mission(service("a")).start("--exit-after-boot")
    until_sync(lambda: told() == 2)
    assert pid in one.processes()
    (one.folder / "go").touch()
    assert one.wait() == 0
    healthy_remains(one)


BACKEND = """
import os, time
with open("pid.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("pid.new", os.environ["SLOW_PID"])
time.sleep(1000)
"""


def test_a_supervisor_killed_while_it_builds_leaves_no_build_behind(mission: Make) -> None:
    one = mission(service("a"))
    package = one.folder / "slow"
    package.mkdir()
    (package / "backend.py").write_text(BACKEND)
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "slow"\ndynamic = ["version"]\n'
    )
    environments = one.folder / "razar_env.yaml"
    environments.write_text("environments:\n  - {layer: core, python: '>=3.11', dependencies: [./slow]}\n")
    pid = one.folder / "slow.pid"
    one.start("--offline", SLOW_PID=str(pid))
    until_sync(pid.exists, 60)
    assert one.stop(signal.SIGKILL) == -signal.SIGKILL
    assert procfs.stat(int(pid.read_text())) is not None
    environments.unlink()
    assert one.boot() == 0
    assert any("WARN a command of RAZAR is left over from a supervisor" in line for line in one.log)
    entry = procfs.stat(int(pid.read_text()))
    assert entry is None or entry.ended
    healthy_remains(one)


FAULTY = """
import sys
from razar.boot.outputs import Outputs

async def flush(self):
    raise RuntimeError("a fault of our own")

Outputs.flush = flush
from razar.boot_orchestrator import main
sys.exit(main(["--mission", "demo"]))
"""


def test_a_fault_of_our_own_leaves_nothing_running(mission: Make) -> None:
    one = mission(script("a", "setsid sleep 1000 & echo ready; exec sleep 1000"))
    done = subprocess.run(
        [sys.executable, "-c", FAULTY],
        cwd=one.folder,
        env=one.environ(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1 and "a fault of our own" in done.stderr
    until_sync(lambda: one.processes() == [])
    # And should anything be left all the same, the next boot looks for it.
    assert (one.logs / "razar.lock").read_text()
    assert one.boot() == 0
    healthy_remains(one)
