"""A failure that was seen before is repaired without asking anybody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.razar.handover import Memory
from tests.handover.support import APP, FIXED, Agent, FileMemory, House, Server, edit, failure, proposal


class Unplugged(Server):
    """Fails the test when it is contacted."""

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        assert self.requests == [], "an agent was asked"


async def learn(house: House, memory: Callable[[], Memory | None], held: bool = True) -> None:
    """Have an agent repair it once, then break it again."""
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=memory)
        attempt = await handovers.attempt(failure(at=1.0))
        assert attempt, attempt.reason
        await handovers.settle(attempt, held)
    house.app.write_text(APP)


async def test_a_repair_that_held_is_done_again_without_any_network(tmp_path: Path) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    await learn(house, lambda: memory)
    with Unplugged() as server:
        # Another process, the same failure at another time.
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        attempt = await handovers.attempt(failure(at=2.0))
        assert attempt and attempt.agent == "memory" and house.app.read_text() == FIXED
        await handovers.settle(attempt, True)
    assert house.records()[-1]["agent"] == "memory" and house.records()[-1]["patched"] is True
    ((entry,),) = memory._load().values()
    assert (entry["held"], entry["failed"]) == (2, 0)
    assert entry["repair"]["edits"] == [
        {"path": "src/app.py", "old": "    return a - b\n", "new": "    return a + b\n"}
    ]
    assert [len(digests) for digests in entry["repair"]["files"].values()] == [2]


async def test_a_remembered_repair_that_no_longer_helps_gives_way_to_the_agents(tmp_path: Path) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    await learn(house, lambda: memory)
    # The same fault in another file: the remembered edit fits, its test does not pass.
    (house.root / "checks" / "try_app.py").write_text("import app\nassert app.add(1, 2) == 30\n")
    other = proposal(edit(new="    return (a + b) * 10\n"))
    with Server(lambda number, body: msgspec.to_builtins(other)) as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        first = await handovers.attempt(failure(at=2.0))
        assert (first.agent, first.outcome) == ("memory", "refused") and server.requests == []
        second = await handovers.attempt(failure(at=2.0))
        assert (second.agent, second.number) == ("kimi2", 2) and second, second.reason
        await handovers.settle(second, True)
    assert len(memory._load()[str(second.fingerprint)]) == 2


async def test_one_that_is_in_place_already_is_not_repeated(tmp_path: Path) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    await learn(house, lambda: memory)
    house.app.write_text(FIXED)
    with Server(lambda number, body: (503, {})) as server:
        attempt = await house.handovers(Agent("kimi2", server.url), memory=lambda: memory).attempt(
            failure(at=2.0)
        )
    assert attempt.agent == "kimi2"


async def test_attempts_from_memory_do_not_count_for_the_ladder(tmp_path: Path) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    await learn(house, lambda: memory)
    (house.root / "checks" / "try_app.py").write_text("import app\nassert app.add(1, 2) == 30\n")
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory, attempts=1)
        assert (await handovers.attempt(failure(at=2.0))).agent == "memory"
        assert (await handovers.attempt(failure(at=2.0))).agent == "kimi2"


async def test_a_repair_that_did_not_hold_counts_against_it(tmp_path: Path) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    await learn(house, lambda: memory, held=False)
    ((entry,),) = memory._load().values()
    assert (entry["held"], entry["failed"]) == (0, 1)
    with Server(lambda number, body: (503, {})) as server:
        attempt = await house.handovers(Agent("kimi2", server.url), memory=lambda: memory).attempt(
            failure(at=2.0)
        )
    assert attempt.agent == "kimi2"


async def test_one_failure_is_counted_once_however_many_attempts_it_takes(tmp_path: Path) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        for _ in range(2):
            await handovers.attempt(failure(at=5.0))
        await handovers.attempt(failure(at=6.0))
    assert memory.failures == 2


@pytest.mark.parametrize(
    "repair",
    [
        {"kind": "patch"},
        {"kind": "patch", "summary": "s", "root_cause": "r", "edits": [{"path": "src/app.py"}], "files": {}},
        {"kind": "dependency", "layer": "another", "package": "httpx"},
        {"kind": "dependency", "layer": "core", "package": 7},
        {"kind": "unheard of"},
        {},
    ],
)
async def test_what_is_no_repair_is_passed_over(tmp_path: Path, repair: dict[str, Any]) -> None:
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        first = await handovers.attempt(failure(at=1.0))
        memory.record_repair(str(first.fingerprint), repair, True)
        assert (await handovers.attempt(failure(at=1.0))).agent == "kimi2"


async def test_a_memory_that_fails_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    def broken() -> Memory | None:
        raise OSError("the disk is gone")

    house = House(tmp_path)
    with Server() as server:
        for memory in (broken, lambda: None):
            house.said.clear()
            handovers = house.handovers(Agent("kimi2", server.url), memory=memory)
            attempt = await handovers.attempt(failure())
            assert attempt and attempt.fingerprint is None
            await handovers.settle(attempt, True)
            house.app.write_text(APP)
            assert [text for _, text in house.said if "memory" in text] == [
                "no memory of past repairs: "
                + ("OSError: the disk is gone" if memory is broken else "there is none")
            ]


async def test_the_real_memory_remembers_a_repair_across_processes(tmp_path: Path) -> None:
    module = pytest.importorskip("neoabzu_memory")
    house = House(tmp_path)

    def memory() -> Memory | None:
        bundle: Memory = module.MemoryBundle(str(tmp_path / "memory.db"))
        return bundle

    await learn(house, memory)
    with Unplugged() as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=memory)
        attempt = await handovers.attempt(failure(at=2.0))
        assert attempt and attempt.agent == "memory"
        await handovers.settle(attempt, True)
    assert house.app.read_text() == FIXED


async def test_another_failure_of_no_known_class_is_another_failure(tmp_path: Path) -> None:
    """Both end with the same exit code; only the log tells them apart."""
    house, memory = House(tmp_path), FileMemory(tmp_path / "memory.json")
    error = "exited with code 1 before it was healthy"
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        names = []
        for at, last in enumerate(("store.NoQuorum: 2 of 3 are gone", "store.NoSpace: 5 bytes are left")):
            tail = ("Traceback (most recent call last):", '  File "/srv/a.py", line 3, in <module>', last)
            attempt = await handovers.attempt(failure(at=float(at), error=error, tail=tail))
            names.append(attempt.fingerprint)
    assert names[0] != names[1]
