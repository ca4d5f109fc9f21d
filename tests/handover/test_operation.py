"""Pause, storms, budgets, turns and long tasks."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.razar.errors import RateLimitError
from agents.razar.escalation import switches
from agents.razar.handover import Exhausted
from razar.config.model import RepairSettings
from tests.handover.support import Agent, House, Server, failure, proposal
from tests.support.waiting import until


async def test_paused_repairs_do_not_begin_and_resumed_ones_do(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        switches.pause(str(house.logs), "the database is being moved")
        with pytest.raises(
            Exhausted, match="paused: the database is being moved; `razar repairs resume`"
        ) as end:
            await handovers.attempt(failure())
        assert end.value.kind == "paused" and server.requests == [] and house.records() == []
        assert switches.resume(str(house.logs)) is True and switches.resume(str(house.logs)) is False
        attempt = await handovers.attempt(failure())
        assert attempt
        await handovers.close()


async def test_a_pause_is_noticed_by_one_that_waits_for_its_turn(tmp_path: Path) -> None:
    house, gate, entered = House(tmp_path, components=2), threading.Event(), threading.Event()

    def slowly(number: int, body: Any) -> Any:
        entered.set()
        assert gate.wait(10)
        return 503, {}

    with Server(slowly) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        first = asyncio.create_task(handovers.attempt(failure("adder")))
        await until(entered.is_set)
        second = asyncio.create_task(handovers.attempt(failure("other1")))
        await until(lambda: handovers._slots.locked())
        switches.pause(str(house.logs))
        gate.set()
        assert (await first).outcome == "failed"
        with pytest.raises(Exhausted, match="paused"):
            await second
        assert len(server.requests) == 1


async def test_a_service_that_asks_to_wait_is_left_alone_by_all(tmp_path: Path) -> None:
    class Limited(Agent):
        async def propose(self, task: Any, *, seconds: float) -> Any:
            raise RateLimitError("kimi2 takes no more requests for now", status=429, retry_after=20.0)

    house = House(tmp_path, components=2)
    handovers = house.handovers(
        Limited("kimi2", "https://kimi2.example"), Agent("airstar", "https://a.example")
    )
    attempt = await handovers.attempt(failure("adder"))
    assert (attempt.outcome, attempt.wait) == ("failed", 20.0)
    house.now += 5.0
    other = await handovers.attempt(failure("other1"))
    # It does not go on to the next agent for that, and it is no attempt.
    assert (other.event, other.wait, other.agent) == ("wait", 15.0, "")
    assert [(r["component"], r["event"]) for r in house.records()] == [("adder", "attempt")]
    house.now += 15.0
    assert (await handovers.attempt(failure("other1"))).outcome == "failed"


async def test_in_a_storm_nobody_is_asked_for_a_while(tmp_path: Path) -> None:
    house = House(tmp_path, components=6)
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        for number in range(1, 5):
            house.now = 1000.0 + number
            await handovers.attempt(failure(f"other{number}", at=house.now))
        asked = len(server.requests)
        attempt = await handovers.attempt(failure("adder", at=house.now))
        assert (attempt.event, attempt.outcome) == ("wait", "refused") and attempt.wait == 120.0
        assert "5 of 6 components failed within 30 s" in attempt.reason
        assert [level for level, text in house.said if "something common" in text] == ["ERROR"]
        assert len(server.requests) == asked and "adder" not in {r["component"] for r in house.records()}
        house.now += 121.0
        assert (await handovers.attempt(failure("adder", at=house.now))).outcome == "failed"
        assert len(server.requests) == asked + 1


@pytest.mark.parametrize(
    ("budget", "calls", "words"),
    [
        ({"requests": 2}, 2, "2 requests"),
        ({"tokens": 1000}, 1, "1000 tokens"),
        ({"tokens": 10}, 0, "10 tokens"),
    ],
)
async def test_a_budget_that_is_used_up_ends_it(
    tmp_path: Path, budget: dict[str, float], calls: int, words: str
) -> None:
    house = House(tmp_path, repair=RepairSettings(budget=budget))
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        with pytest.raises(Exhausted, match=words) as end:
            for _ in range(5):
                await handovers.attempt(failure())
        assert end.value.kind == "budget" and len(server.requests) == calls
    # It says nothing about the failure: the next boot goes on where this one ended.
    assert [r["event"] for r in house.records()] == ["attempt"] * calls


async def test_requests_to_one_endpoint_are_made_one_after_the_other(tmp_path: Path) -> None:
    house = House(tmp_path, components=4, repair=RepairSettings(budget={"concurrent": 4}))
    at_once, most = 0, 0
    lock = threading.Lock()

    def count(number: int, body: Any) -> Any:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.01)
        with lock:
            at_once -= 1
        return 503, {}

    with Server(count) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        names = ("adder", "other1", "other2", "other3")
        await asyncio.gather(*(handovers.attempt(failure(name)) for name in names))
        assert len(server.requests) == 4 and most == 1


async def test_no_more_repairs_at_once_than_the_budget_says(tmp_path: Path) -> None:
    house = House(tmp_path, components=3, repair=RepairSettings(budget={"concurrent": 1}))
    gate = asyncio.Event()
    asked: list[str] = []

    class Slow(Agent):
        async def propose(self, task: Any, *, seconds: float) -> Any:
            asked.append(task.component)
            self.endpoint = f"https://{task.component}.example"  # No lock is shared.
            await gate.wait()
            return await super().propose(task, seconds=seconds)

    handovers = house.handovers(Slow("kimi2", "https://agent.example"))
    tasks = [asyncio.create_task(handovers.attempt(failure(name))) for name in ("adder", "other1", "other2")]
    await until(lambda: len(asked) == 1)
    await until(lambda: len(handovers._slots._waiters or ()) == 2)
    assert len(asked) == 1
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(done, asyncio.CancelledError)
        for done in await asyncio.gather(*tasks, return_exceptions=True)
    )


async def test_a_long_task_goes_on_beyond_the_ladder_and_writes_each_attempt_down(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: (503, {}) if number < 5 else msgspec.to_builtins(proposal())) as server:
        agents = (Agent("kimi2", f"{server.url}/k"), Agent("airstar", f"{server.url}/a"))
        handovers = house.handovers(*agents, long_task=True, environ={"RAZAR_RSTAR_THRESHOLD": "1"})
        names, waits = [], []
        for _ in range(20):
            attempt = await handovers.attempt(failure())
            if attempt.event == "wait":
                house.now += attempt.wait
                continue
            names.append(attempt.agent)
            waits.append(attempt.wait)
            if attempt:
                break
        await handovers.settle(attempt, True)
    assert names == ["kimi2", "airstar", "kimi2", "airstar", "kimi2"]
    assert waits == [1.0, 2.0, 4.0, 8.0, 0.0]
    lines = house.records("razar_long_task.json")
    assert [list(line) for line in lines] == [
        ["component", "attempt", "error", "patched", "aborted", "timestamp"]
    ] * 5
    assert [(line["attempt"], line["patched"], line["aborted"]) for line in lines] == [
        (1, False, False), (2, False, False), (3, False, False), (4, False, False), (5, True, False),
    ]  # fmt: skip


async def test_a_long_task_that_is_interrupted_says_so(tmp_path: Path) -> None:
    house, entered, gate = House(tmp_path), threading.Event(), threading.Event()

    def never(number: int, body: Any) -> Any:
        entered.set()
        gate.wait(10)
        return 503, {}

    with Server(never) as server:
        handovers = house.handovers(Agent("kimi2", server.url), long_task=True)
        task = asyncio.create_task(handovers.attempt(failure()))
        await until(entered.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
    (line,) = house.records("razar_long_task.json")
    assert (line["attempt"], line["patched"], line["aborted"]) == (1, False, True)
    assert house.records() == []
    (report,) = (house.logs / "repairs" / "handovers").glob("*.json")
    told = json.loads(report.read_text())
    assert told["outcome"] == "cancelled" and told["given"]
    assert handovers.budget.requests == 1 and handovers.budget.tokens > 0
