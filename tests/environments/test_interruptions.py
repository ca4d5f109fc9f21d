"""Builds that are killed, cancelled, or wanted by two at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from razar.environment_builder import LayerEnvironment, check
from tests.environments.conftest import Mission, output, spec
from tests.environments.packages import make_wheel
from tests.support.waiting import until

PROGRAM = """
import asyncio, os, sys
from razar.config.model import EnvironmentSpec
from razar.environment_builder import prepare
root = sys.argv[1]
spec = EnvironmentSpec(layer="web", python=">=3.11", dependencies=("alpha",))
say = lambda layer, line: print(line, flush=True)
[result] = asyncio.run(
    prepare([spec], root=root, log=root + "/logs/environments.log", environ=os.environ, on_progress=say))
print("result", result.outcome, result.folder)
"""


def start(mission: Mission) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(mission.root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **mission.environ, "PYTHONPATH": os.getcwd()},
    )


def downloads(mission: Mission) -> list[str]:
    return [one for one in mission.index.requests if one.endswith(".whl")]


def uv_at_work(mission: Mission) -> list[int]:
    """Return the uv processes that work on this mission."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes() if name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(mission.root) in line and b"\0pip\0" in line:
            found.append(int(name))
    return found


async def test_a_build_that_was_killed_is_begun_anew(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    mission.index.gate.clear()
    process = start(mission)
    await until(lambda: downloads(mission))
    process.kill()
    process.communicate()
    remains = mission.environments()
    assert len(remains) == 1
    assert check([spec("alpha")], root=str(mission.root)) == [None]
    assert not (mission.layer() / "current").exists()

    # uv outlived its parent and goes on in the old folder; the new build has its own.
    orphans = uv_at_work(mission)
    second = asyncio.ensure_future(mission.build(spec("alpha")))
    await until(lambda: any("creating the environment" in line for _, line in mission.progress))
    mission.index.gate.set()
    built = await second
    assert built.outcome == "built" and os.path.basename(built.folder) not in remains
    output(built.python, "-c", "import alpha")

    await until(lambda: not any(os.path.exists(f"/proc/{pid}") and alive(pid) for pid in orphans))
    (mission.lock()).unlink()
    await mission.build(spec("alpha"))
    assert mission.environments() == {os.path.basename(built.folder)}
    assert {one.suffix for one in mission.layer().iterdir()} <= {"", ".json"}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_build_killed_while_the_old_environment_is_in_use_leaves_it(mission: Mission) -> None:
    make_wheel(mission.wheels, "beta")
    make_wheel(mission.wheels, "alpha")
    old = await mission.build(spec("beta"))
    mission.index.gate.clear()
    mission.index.requests.clear()
    process = start(mission)
    await until(lambda: downloads(mission))
    process.kill()
    process.communicate()
    mission.index.gate.set()
    assert os.readlink(mission.layer() / "current") == os.path.basename(old.folder)
    output(old.python, "-c", "import beta")
    again = await mission.build(spec("beta"))
    assert again.folder == old.folder


async def test_a_cancelled_build_leaves_no_process_and_no_lock(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    mission.index.gate.clear()
    task = asyncio.ensure_future(mission.build(spec("alpha")))
    await until(lambda: downloads(mission))
    assert uv_at_work(mission)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert uv_at_work(mission) == []
    remains = mission.environments()
    mission.index.gate.set()
    built = await mission.build(spec("alpha"))
    assert mission.environments() == {os.path.basename(built.folder)}
    assert not remains & mission.environments()


async def test_two_processes_at_once_build_it_once(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    mission.index.gate.clear()
    first = start(mission)
    await until(lambda: downloads(mission))
    second = start(mission)
    assert second.stdout is not None
    line = await asyncio.to_thread(second.stdout.readline)
    assert line == f"waiting for process {first.pid}, which builds it now\n"
    mission.index.gate.set()
    one, two = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in (first, second)))
    results = [out.splitlines()[-1].split() for out, _ in (one, two)]
    assert [result[1] for result in results] == ["built", "unchanged"]
    assert results[0][2] == results[1][2]
    assert len(two[0].splitlines()) == 1  # It found the environment complete and did nothing itself.
    assert len(mission.environments()) == 1
    assert len(downloads(mission)) == 1


async def test_who_waits_for_a_builder_can_be_interrupted(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    mission.index.gate.clear()
    first = start(mission)
    await until(lambda: downloads(mission))
    task = asyncio.ensure_future(mission.prepare(spec("alpha"), spec(layer="other")))
    await until(lambda: any(line.startswith("waiting for process") for _, line in mission.progress))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # If the builder dies, the kernel gives its lock to the next one.
    first.send_signal(signal.SIGKILL)
    first.communicate()
    mission.index.gate.set()
    [built] = await mission.prepare(spec("alpha"))
    assert isinstance(built, LayerEnvironment) and built.outcome == "built"
