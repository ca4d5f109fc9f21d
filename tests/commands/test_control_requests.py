"""Requests are confirmed: the answer comes when the components are where they were asked to be."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from razar.control.address import SOCKET_NAME
from razar.engine import events
from tests.commands.support import ask, component, house
from tests.support.waiting import until


async def final(folder: Path, **request: Any) -> dict[str, Any]:
    return (await ask(folder, request))[-1]


async def test_ping_names_the_mission(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")):
        answer = await final(tmp_path, request="ping")
    assert answer["ok"] is True
    assert answer["result"]["mission"] == "demo"


async def test_status_shows_components_and_supervisor(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a", criticality="optional")):
        result = (await final(tmp_path, request="status"))["result"]
        one = (await final(tmp_path, request="status", components=["b"]))["result"]
    assert [entry["state"] for entry in result["snapshot"]["components"]] == ["running", "running"]
    assert result["supervisor"]["phase"] == "settled"
    assert result["supervisor"]["outcome"] == "complete"
    assert result["supervisor"]["failing"] is None
    assert result["supervisor"]["optional"] == ["b"]
    assert [entry["id"] for entry in one["snapshot"]["components"]] == ["b"]


async def test_status_says_why_a_mission_is_failing(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.die("a")
        result = (await final(tmp_path, request="status"))["result"]
    assert "a is failed" in result["supervisor"]["failing"]


async def test_stop_is_answered_when_the_component_has_stopped(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b")) as mission:
        answer = await final(tmp_path, request="stop", components=["a"])
        assert (mission.state("a"), mission.state("b")) == ("stopped", "running")
    assert answer["result"]["components"] == [
        {"id": "a", "state": "stopped", "pid": None, "reached": True, "error": None}
    ]


async def test_stop_takes_dependents_first_whatever_the_order_asked_for(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a"), component("c", "b")) as mission:
        answer = await final(tmp_path, request="stop", components=["a", "c", "b", "a"])
    assert answer["ok"] is True
    assert mission.signals == ["c", "b", "a"]


async def test_stop_of_what_is_stopped_already_is_done_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")):
        await final(tmp_path, request="stop", components=["a"])
        assert (await final(tmp_path, request="stop", components=["a"]))["ok"] is True


async def test_stop_leaves_a_quarantine_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), boot=False) as mission:
        mission.broken.add("a")
        mission.runtime.report(events.IgnitionBegan())
        await until(lambda: mission.state("a") == "quarantined")
        assert (await final(tmp_path, request="stop", components=["a"]))["ok"] is True
        assert mission.state("a") == "quarantined"


async def test_a_stop_that_takes_too_long_names_who_holds_it_up(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        answer = await final(tmp_path, request="stop", components=["a"], timeout=0.05)
        assert mission.state("a") == "stopping"
    assert answer["code"] == "not_reached"
    assert "a: it is still stopping" in answer["error"]
    assert answer["waiting"][0]["holders"][0].endswith("(stubborn a)")


async def test_a_client_that_waits_is_told_who_is_waited_for(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b'{"request": "stop", "components": ["a"]}\n')
        (waiting,) = json.loads(await reader.readline())["progress"]["waiting"]
        mission.die("a")
        assert json.loads(await reader.readline())["ok"] is True
        writer.close()
    assert waiting["id"] == "a" and "stubborn a" in waiting["holders"][0]


async def test_what_a_client_no_longer_waits_for_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a")) as mission:
        mission.stubborn.add("b")
        await final(tmp_path, request="stop", components=["a", "b"], timeout=0.01)
        await until(lambda: mission.state("a") == "stopped")


async def test_restart_is_answered_when_the_new_incarnation_is_healthy(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a")) as mission:
        answer = await final(tmp_path, request="restart", components=["a", "b"])
        assert [mission.runtime.state.components[id].incarnation for id in "ab"] == [2, 2]
    assert [entry["state"] for entry in answer["result"]["components"]] == ["running", "running"]


async def test_restart_starts_what_was_stopped(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        await final(tmp_path, request="stop", components=["a"])
        assert (await final(tmp_path, request="restart", components=["a"]))["ok"] is True
        assert mission.state("a") == "running"


async def test_restart_that_fails_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a")) as mission:
        mission.broken.add("a")
        answer = await final(tmp_path, request="restart", components=["a"])
        blocked = await final(tmp_path, request="restart", components=["b"])
    assert answer["code"] == "not_reached"
    assert answer["error"] == "a: no such file"
    assert answer["components"][0]["state"] == "quarantined"
    assert "b: a, which it depends on, is quarantined" in blocked["error"]


async def test_restart_of_a_stopped_chain_waits_for_the_dependency(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a")) as mission:
        await final(tmp_path, request="stop", components=["a", "b"])
        assert (await final(tmp_path, request="restart", components=["b", "a"]))["ok"] is True
        assert mission.state("b") == "running"


async def test_restart_of_a_skipped_component_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), boot=False) as mission:
        mission.runtime.report(events.IgnitionBegan({"a": "its condition is false"}))
        answer = await final(tmp_path, request="restart", components=["a"])
    assert answer["error"] == "a is skipped: its condition is false; nothing was done"


async def test_a_stop_overtaken_by_a_restart_is_told_so(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        first = asyncio.create_task(ask(tmp_path, {"request": "stop", "components": ["a"]}))
        await until(lambda: mission.state("a") == "stopping")
        second = asyncio.create_task(ask(tmp_path, {"request": "restart", "components": ["a"]}))
        await until(lambda: mission.runtime.state.components["a"].closing == "restart")
        mission.die("a")
        assert (await second)[-1]["ok"] is True
        assert (await first)[-1]["error"] == "a: another request started it again"


async def test_release_records_and_starts(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.broken.add("a")
        await final(tmp_path, request="restart", components=["a"])
        mission.broken.clear()
        answer = await final(tmp_path, request="release", components=["a"], note="disk replaced")
        assert mission.state("a") == "running"
    assert answer["ok"] is True
    assert mission.released == [("a", "disk replaced")]


async def test_release_of_what_is_not_in_quarantine_does_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        answer = await final(tmp_path, request="release", components=["a"])
        assert mission.runtime.state.components["a"].incarnation == 1
    assert answer["error"] == "a is not in quarantine, it is running; nothing was done"
    assert mission.released == []


async def test_a_restart_of_what_is_in_quarantine_records_its_release(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.broken.add("a")
        await final(tmp_path, request="restart", components=["a"])
        assert mission.state("a") == "quarantined" and mission.released == []
        mission.broken.clear()
        assert (await final(tmp_path, request="restart", components=["a"]))["ok"] is True
    assert mission.released == [("a", "restarted by the operator")]


async def test_a_release_of_what_runs_clears_what_is_left_in_the_record(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.recorded.add("a")
        answer = await final(tmp_path, request="release", components=["a"], note="it runs")
        assert mission.runtime.state.components["a"].incarnation == 1
    assert [entry["state"] for entry in answer["result"]["components"]] == ["running"]
    assert mission.released == [("a", "it runs")]


async def test_a_release_that_cannot_be_recorded_starts_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.broken.add("a")
        await final(tmp_path, request="restart", components=["a"])

        def full(id: str, note: str) -> bool:
            raise OSError(28, "No space left on device")

        mission.release = full  # type: ignore[method-assign]
        answer = await final(tmp_path, request="release", components=["a"])
        assert mission.state("a") == "quarantined"
    assert answer["code"] == "unavailable"
    assert "No space left on device" in answer["error"]


async def test_an_unknown_id_stops_nothing_and_gets_the_nearest_names(tmp_path: Path) -> None:
    async with house(tmp_path, component("basic_service"), component("crown_router")) as mission:
        answer = await final(tmp_path, request="stop", components=["crown_router", "basic_servic"])
        assert mission.state("crown_router") == "running"
        far = await final(tmp_path, request="status", components=["zzz"])
    assert answer["code"] == "unknown_component"
    assert answer["nearest"] == {"basic_servic": ["basic_service"]}
    assert "did you mean basic_service?" in answer["error"]
    assert "the mission has basic_service, crown_router" in far["error"]


async def test_stop_of_the_mission_is_answered_when_everything_has_stopped(tmp_path: Path) -> None:
    async with house(tmp_path, component("a"), component("b", "a")) as mission:
        answer = await final(tmp_path, request="stop")
        assert mission.runtime.stopped.done()
    assert answer["result"] == {"mission": "demo", "outcome": "complete", "reason": None}
    assert mission.signals == ["b", "a"]


async def test_two_clients_stop_the_mission_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        answers = await asyncio.gather(*(final(tmp_path, request="stop") for _ in range(5)))
    assert all(answer["ok"] for answer in answers)
    assert mission.signals == ["a"]


async def test_a_hurried_stop_cuts_the_grace_short(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        answer = await final(tmp_path, request="stop", hurry=True)
    assert answer["ok"] is True


async def test_a_mission_stop_that_takes_too_long_names_who_holds_it_up(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        answer = await final(tmp_path, request="stop", timeout=0.05)
    assert answer["code"] == "not_reached"
    assert [entry["id"] for entry in answer["waiting"]] == ["a"]


@pytest.mark.parametrize("boot", [False, True])
async def test_nothing_is_restarted_before_the_ignition_or_during_the_stop(
    tmp_path: Path, boot: bool
) -> None:
    async with house(tmp_path, component("a"), boot=boot) as mission:
        if boot:
            mission.stubborn.add("a")
            mission.runtime.report(events.ShutdownRequested("SIGTERM"))
        answer = await final(tmp_path, request="restart", components=["a"])
    assert answer["code"] == "unavailable"
    assert ("is being stopped" if boot else "has not begun to ignite") in answer["error"]


async def test_a_restart_that_the_stop_of_the_mission_overtakes_is_told_so(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        waiting = asyncio.create_task(ask(tmp_path, {"request": "restart", "components": ["a"]}))
        await until(lambda: mission.state("a") == "stopping")
        mission.runtime.report(events.ShutdownRequested("SIGTERM"))
        assert "the mission is being stopped" in (await waiting)[-1]["error"]
