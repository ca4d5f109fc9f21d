"""What is left after a crash or a cancellation: everything as it was, and on record."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from agents.razar.agent import Suggestion
from agents.razar.patching import journal, place
from agents.razar.records import settling
from tests.handover.support import APP, FIXED, Agent, House, Server, failure, proposal
from tests.handover.test_dependency import LAYERS, TAIL, WITH, house_with_layers
from tests.support.waiting import until, until_sync


async def test_a_cancellation_while_the_tests_run_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    house = House(tmp_path, test="import app, time\ntime.sleep(600)\n")
    with Server() as server:
        task = asyncio.create_task(house.handovers(Agent("kimi2", server.url)).attempt(failure()))
        await until(lambda: list(house.logs.glob("repairs/*/work/sandbox.json")))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert house.app.read_text() == APP and sorted(os.listdir(house.root / "src")) == ["app.py"]
    assert journal.known(str(house.logs)) == []


async def test_a_cancellation_at_any_instant_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    house = House(tmp_path, test=None)

    class Ready(Agent):
        async def propose(self, task: Any, *, seconds: float) -> Any:
            await asyncio.sleep(0)
            return Suggestion(proposal=proposal())

    before, ends = sorted(os.listdir(house.root / "src")), set()
    for steps in range(0, 160, 3):
        handovers = house.handovers(Ready("kimi2", "https://agent.example"), attempts=10_000)
        task = asyncio.create_task(handovers.attempt(failure()))
        for _ in range(steps):
            await asyncio.sleep(0.0003 if steps % 2 else 0)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        ends.add(type(end))
        await handovers.close()
        assert house.app.read_text() == APP, steps
        assert sorted(os.listdir(house.root / "src")) == before
        logs = str(house.logs)
        assert {journal.state_of(logs, id) for id in journal.known(logs)} <= {"rejected", "rolled_back"}
        shutil.rmtree(house.logs / "repairs" / "tried", ignore_errors=True)
    assert asyncio.CancelledError in ends and house.handovers().recover() == []


async def test_a_cancellation_after_the_swap_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, test=None)
    applied, go_on = threading.Event(), threading.Event()

    def slow_remove(logs: str, id: str, remove: Any = place.remove) -> None:
        applied.set()
        assert go_on.wait(10)
        remove(logs, id)

    monkeypatch.setattr(place, "remove", slow_remove)
    with Server() as server:
        task = asyncio.create_task(house.handovers(Agent("kimi2", server.url)).attempt(failure()))
        assert await asyncio.to_thread(applied.wait, 10)
        assert house.app.read_text() == FIXED
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert house.app.read_text() == APP
    (id,) = journal.known(str(house.logs))
    assert journal.state_of(str(house.logs), id) == "rolled_back"


async def test_a_dependency_cancelled_at_any_instant_leaves_its_file_as_it_was(tmp_path: Path) -> None:
    house = house_with_layers(tmp_path)
    file = house.root / "razar_env.yaml"
    for steps in range(60):
        task = asyncio.create_task(house.handovers().attempt(failure(tail=TAIL)))
        for _ in range(steps):
            await asyncio.sleep(0.0002)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(end, asyncio.CancelledError):
            assert file.read_text() == WITH
            house.handovers().recover()
        assert file.read_text() == LAYERS
        assert set(os.listdir(house.root)) - {"logs"} == {"checks", "razar_env.yaml", "src"}
        shutil.rmtree(house.logs, ignore_errors=True)


async def test_what_was_never_settled_is_undone_at_the_end(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        assert await handovers.attempt(failure())
        await handovers.close()
        await handovers.close()
    assert house.app.read_text() == APP
    (record,) = house.records()
    assert record["patched"] is False and "RAZAR stopped" in record["reason"]


async def test_settling_goes_on_to_its_end_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    really, reached, gate = settling.code_repair.rollback, threading.Event(), threading.Event()

    def slowly(*arguments: Any, **options: Any) -> Any:
        reached.set()
        assert gate.wait(10)
        return really(*arguments, **options)

    monkeypatch.setattr(settling.code_repair, "rollback", slowly)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        task = asyncio.create_task(handovers.settle(attempt, False, "it is down"))
        await until(reached.is_set)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert house.app.read_text() == APP and house.records()[0]["reason"] == "it is down"


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.handover.support import Agent, House, failure

async def main():
    house = House.at(Path(sys.argv[1]))
    attempt = await house.handovers(Agent("kimi2", sys.argv[2])).attempt(failure())
    print("applied" if attempt else attempt.reason, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_after_a_kill_the_next_start_undoes_and_records_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server() as server:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), server.url],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        try:
            assert process.stdout is not None and process.stdout.readline() == "applied\n"
            until_sync(lambda: house.app.read_text() == FIXED)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    handovers = house.handovers()
    (id,) = handovers.recover()
    assert house.app.read_text() == APP
    (record,) = house.records()
    assert (record["attempt"], record["agent"], record["patched"]) == (1, "kimi2", False)
    assert record["patch_id"] == id and "RAZAR ended" in record["reason"]
    assert record["error"] == "Health check failed"
    assert handovers.recover() == []


def test_where_nothing_was_ever_repaired_there_is_nothing_to_recover(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert house.handovers().recover() == []
    assert not house.logs.exists()
