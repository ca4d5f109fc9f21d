"""One attempt after the other: what is applied, what is recorded, who is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.razar.errors import QuotaError
from agents.razar.handover import Exhausted
from agents.razar.patching import journal
from razar import metrics
from razar.config.model import RepairScope, RepairSettings
from razar.utils.logging import log_invocation
from tests.handover.support import (
    APP,
    FIXED,
    Agent,
    House,
    Server,
    edit,
    failure,
    proposal,
)


def wrong(number: int) -> dict[str, Any]:
    """A patch that changes something and mends nothing, another one each time."""
    return msgspec.to_builtins(proposal(edit(new=f"    return a * b + {number + 10}\n")))  # type: ignore[no-any-return]


async def test_what_held_and_failed_soon_after_is_undone_and_counts_as_an_attempt(tmp_path: Path) -> None:
    house = House(tmp_path)
    before = house.app.read_text()
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        await handovers.settle(attempt, True)
        await handovers.settle(attempt, False, "killed by SIGSEGV")
        await handovers.settle(attempt, False, "a second time")
        assert house.app.read_text() == before
        assert [(r["event"], r["patched"]) for r in house.records()] == [
            ("attempt", True),
            ("reverted", False),
        ]
        assert house.records()[-1]["reason"] == "killed by SIGSEGV"
        again = await handovers.attempt(failure())
        assert again.number == 2, "the series goes on"


async def test_a_patch_that_holds_is_kept_and_recorded(tmp_path: Path, store: metrics.Store) -> None:
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure(), {"history": []})
        assert attempt, attempt.reason
        assert house.app.read_text() == FIXED
        assert (attempt.number, attempt.agent, attempt.outcome, attempt.wait) == (1, "kimi2", "applied", 0.0)
        assert house.records() == []
        await handovers.settle(attempt, True)
        await handovers.settle(attempt, True)
    (record,) = house.records()
    assert record["patched"] is True and record["status"] == "success" and record["event"] == "attempt"
    assert record["agent"] == "kimi2" and record["agent_original"] == "Kimi2"
    assert record["patch_id"] == attempt.patch_id and record["tokens"] == 100 and record["seconds"] > 0
    assert house.app.read_text() == FIXED
    assert journal.state_of(str(house.logs), str(attempt.patch_id)) == "kept"
    assert len(server.requests) == 1 and attempt.seconds > attempt.asked > 0
    ((labels, _, seconds),) = store.histograms(
        next(m for m in metrics.TABLE if m.name == "razar_handover_seconds")
    )
    assert labels == ("kimi2", "patched") and seconds == attempt.asked


async def test_a_patch_that_does_not_hold_is_undone_and_says_why(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        await handovers.settle(attempt, False, "exited with 1")
    assert house.app.read_text() == APP
    (record,) = house.records()
    assert record["patched"] is False and record["reason"] == "exited with 1"
    assert [r["status"] for r in house.records("razar_ai_patches.json")] == ["applied", "rolled_back"]


async def test_a_patch_that_was_kept_too_early_is_reverted_and_its_series_goes_on(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: msgspec.to_builtins(proposal()) if number == 1 else (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        await handovers.settle(attempt, True)
        await handovers.settle(attempt, False, "exited with 1 after 4 s")
        await handovers.settle(attempt, False)
        assert house.app.read_text() == APP
        assert (await handovers.attempt(failure())).number == 2
    told = [(r["event"], r["patched"]) for r in house.records()]
    assert told == [("attempt", True), ("reverted", False), ("attempt", False)]
    assert [r["status"] for r in house.records("razar_ai_patches.json")] == ["applied", "reverted"]


async def test_a_refused_patch_is_recorded_with_its_reason_and_the_next_is_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: wrong(number)) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        first = await handovers.attempt(failure())
        assert (first.outcome, first.number) == ("refused", 1) and "exited with 1" in first.reason
        assert first.wait == 1.0
        history = [
            {"attempt": 1, "agent": "kimi2", "error": "e", "reason": first.reason, "status": "failure"}
        ]
        second = await handovers.attempt(failure(), {"history": history})
        assert (second.outcome, second.number, second.wait) == ("refused", 2, 2.0)
    assert house.app.read_text() == APP
    assert [r["attempt"] for r in house.records()] == [1, 2]
    assert [r["retries"] for r in house.records()] == [0, 1]
    assert b"it fails without the patch too" in server.requests[1]


@pytest.mark.parametrize(
    ("options", "attempts", "waits"),
    [
        ({"attempts": 2}, 2, [1.0, 0.0]),
        ({"attempts": 1}, 1, [0.0]),
        ({"environ": {"RAZAR_RSTAR_THRESHOLD": "1"}}, 2, [1.0, 0.0]),  # airstar is the last rung.
        ({"attempts": 1, "long_task": True}, 2, [1.0, 2.0]),  # It has no end.
    ],
)
async def test_nothing_is_waited_for_after_the_last_attempt(
    tmp_path: Path, options: dict[str, Any], attempts: int, waits: list[float]
) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: wrong(number)) as server:
        handovers = house.handovers(
            Agent("kimi2", server.url), Agent("airstar", f"{server.url}/second"), **options
        )
        assert [(await handovers.attempt(failure())).wait for _ in range(attempts)] == waits


async def test_an_agent_that_fails_is_recorded(tmp_path: Path, store: metrics.Store) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: (503, {})) as server:
        attempt = await house.handovers(Agent("kimi2", server.url)).attempt(failure())
    assert (attempt.outcome, attempt.reason) == ("failed", "kimi2 has no capacity")
    (record,) = house.records()
    assert record["reason"] == "kimi2 has no capacity" and "patch_id" not in record
    ((labels, _, _),) = store.histograms(next(m for m in metrics.TABLE if m.name == "razar_handover_seconds"))
    assert labels == ("kimi2", "failed")


async def test_an_agent_with_a_defect_does_not_end_the_mission(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: {"nothing": "of the kind"}) as server:
        attempt = await house.handovers(Agent("kimi2", server.url)).attempt(failure())
    assert attempt.outcome == "failed" and "ValidationError" in attempt.reason


async def test_nine_attempts_of_the_first_agent_then_airstar_then_rstar_then_the_operator(
    tmp_path: Path,
) -> None:
    house = House(tmp_path)
    with Server(lambda number, body: (503, {})) as server:
        names = ("kimi2", "airstar", "rstar")
        for _ in range(12):
            # A new process each time: the count is in the log.
            handovers = house.handovers(*(Agent(name, f"{server.url}/{name}") for name in names))
            try:
                await handovers.attempt(failure())
            except Exhausted as end:
                assert end.kind == "ladder" and "11 of 11 attempts" in end.reason
                break
        else:
            raise AssertionError("the ladder has no end")
    told = [(r["event"], r["attempt"], r.get("agent"), r.get("agent_original")) for r in house.records()]
    assert told == [
        *(("attempt", number, "kimi2", "Kimi2") for number in range(1, 10)),
        ("escalation", 10, "airstar", "AirStar"),
        ("attempt", 10, "airstar", "AirStar"),
        ("escalation", 11, "rstar", "RStar"),
        ("attempt", 11, "rstar", "RStar"),
        ("exhausted", 11, None, None),
    ]
    assert (
        house.records()[9]["reason"] == "9 attempts did not help" and house.records()[9]["patched"] is False
    )
    assert len(server.requests) == 11


async def test_the_count_begins_anew_after_a_repair_that_held_and_after_the_operator(tmp_path: Path) -> None:
    house = House(tmp_path)
    path = house.logs / "razar_ai_invocations.json"
    for number in range(1, 9):
        log_invocation("adder", number, "e", False, agent="kimi2", log_path=path)
    log_invocation("adder", 9, "e", True, agent="kimi2", log_path=path)
    log_invocation("other", 9, "e", False, agent="kimi2", log_path=path)
    with Server(lambda number, body: wrong(number)) as server:
        attempt = await house.handovers(Agent("kimi2", server.url), Agent("airstar", server.url)).attempt(
            failure()
        )
        assert (attempt.number, attempt.agent) == (1, "kimi2")
        for number in range(2, 12):
            log_invocation("adder", number, "e", False, agent="kimi2", log_path=path)
        handovers = house.handovers(Agent("kimi2", server.url), Agent("airstar", server.url))
        with pytest.raises(Exhausted):
            await handovers.attempt(failure())
        attempt = await handovers.attempt(failure())
        assert (attempt.number, attempt.agent) == (1, "kimi2")


@pytest.mark.parametrize(("threshold", "expected"), [("2", "airstar"), ("0", "kimi2"), ("junk", "kimi2")])
async def test_the_threshold_of_the_environment_counts(tmp_path: Path, threshold: str, expected: str) -> None:
    house = House(tmp_path)
    for number in (1, 2):
        log_invocation(
            "adder", number, "e", False, agent="kimi2", log_path=house.logs / "razar_ai_invocations.json"
        )
    with Server() as server:
        agents = (Agent("kimi2", server.url), Agent("airstar", server.url))
        attempt = await house.handovers(*agents, environ={"RAZAR_RSTAR_THRESHOLD": threshold}).attempt(
            failure()
        )
    assert (attempt.agent, attempt.number) == (expected, 3)
    assert (threshold == "junk") == any("RAZAR_RSTAR_THRESHOLD" in text for _, text in house.said)


async def test_the_command_line_wins_over_the_configuration(tmp_path: Path) -> None:
    house = House(tmp_path, repair=RepairSettings(attempts=5))
    with Server(lambda number, body: wrong(number)) as server:
        handovers = house.handovers(Agent("kimi2", server.url), attempts=1)
        await handovers.attempt(failure())
        with pytest.raises(Exhausted, match="1 of 1 attempts"):
            await handovers.attempt(failure())


async def test_one_that_is_not_configured_is_skipped_and_its_reason_kept(tmp_path: Path) -> None:
    house = House(tmp_path, repair=RepairSettings(ladder=("memory", "kimi2", "airstar")))
    with Server(lambda number, body: wrong(number)) as server:
        handovers = house.handovers(Agent("airstar", server.url))
        attempt = await handovers.attempt(failure())
        assert attempt.agent == "airstar"
        assert house.records()[0]["event"] == "escalation"
        assert house.records()[0]["reason"] == "kimi2: it is not configured"
        with pytest.raises(Exhausted, match="every agent was asked") as end:
            await handovers.attempt(failure())
    assert end.value.kind == "ladder"


async def test_without_any_agent_it_says_what_to_set(tmp_path: Path) -> None:
    house = House(tmp_path)
    with pytest.raises(Exhausted, match="KIMI2_ENDPOINT") as end:
        await house.handovers().attempt(failure())
    assert end.value.kind == "configuration" and house.records() == []


async def test_a_quota_that_is_used_up_moves_on_and_only_resume_moves_back(tmp_path: Path) -> None:
    from agents.razar.escalation.switches import resume

    class Empty(Agent):
        async def propose(self, task: Any, *, seconds: float) -> Any:
            raise QuotaError("kimi2 says that the balance is used up")

    house = House(tmp_path)
    with Server(lambda number, body: wrong(number)) as server:
        handovers = house.handovers(Empty("kimi2", "https://kimi2.example"), Agent("airstar", server.url))
        assert (await handovers.attempt(failure())).outcome == "failed"
        assert (await handovers.attempt(failure())).agent == "airstar"
        with pytest.raises(Exhausted):
            await handovers.attempt(failure())
        # The next failure would begin with the first agent, whose breaker is open.
        assert (await handovers.attempt(failure())).agent == "airstar"
        with pytest.raises(Exhausted):
            await handovers.attempt(failure())
        resume(str(house.logs))
        assert (await handovers.attempt(failure())).agent == "kimi2"
    escalation = next(r for r in house.records() if r["event"] == "escalation")
    assert "the balance is used up" in escalation["reason"] and "razar repairs resume" in escalation["reason"]


@pytest.mark.parametrize("approval", ["ask", "never"])
async def test_a_patch_that_may_not_be_applied_is_proposed_once(tmp_path: Path, approval: Any) -> None:
    house = House(tmp_path)
    house = House(tmp_path / "second", scope=msgspec.structs.replace(house.scope, approval=approval))
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        assert attempt.outcome == "proposed" and not attempt and attempt.diff
        with pytest.raises(Exhausted, match=str(attempt.patch_id)) as end:
            await handovers.attempt(failure())
    assert end.value.kind == "proposal" and len(server.requests) == 1
    assert house.app.read_text() == APP
    assert [r["patched"] for r in house.records()] == [False, False]


async def test_without_paths_one_suggestion_is_shown_and_nothing_is_touched(tmp_path: Path) -> None:
    house = House(tmp_path, scope=RepairScope())
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        assert attempt.outcome == "proposed" and "+    return a + b" in attempt.diff
        with pytest.raises(Exhausted):
            await handovers.attempt(failure())
        assert house.app.read_text() == APP and len(server.requests) == 1
        task = json.loads(server.requests[0].partition(b"\n\n")[2].decode())
    assert task["sources"] == [] and "none are allowed" in task["instructions"]


@pytest.mark.parametrize(
    ("error", "tail", "name"),
    [
        ("exited with 1", ["OSError: [Errno 98] Address already in use: port 8000"], "port"),
        ("exited with 1", ["PermissionError: [Errno 13] Permission denied: '/x'"], "permission"),
        ("exited with 1", ["MemoryError: out of memory"], "resource"),
        ("exited with 1", ["ConnectionRefusedError: [Errno 111] Connection refused"], "network"),
    ],
)
async def test_what_no_patch_can_help_goes_to_the_operator(
    tmp_path: Path, error: str, tail: list[str], name: str
) -> None:
    house = House(tmp_path)
    with Server() as server:
        with pytest.raises(Exhausted) as end:
            await house.handovers(Agent("kimi2", server.url)).attempt(failure(error=error, tail=tuple(tail)))
        assert server.requests == []
    assert end.value.kind == "class" and end.value.reason.startswith(f"{name}:") and end.value.remediation


async def test_a_probe_that_nobody_answers_is_not_the_networks_fault(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(
            failure(error="tcp://127.0.0.1:8000: connection refused", tail=("begun",))
        )
        await handovers.close()
    assert attempt and len(server.requests) == 1


async def test_a_component_that_does_not_exist_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="demo has no component 'nobody'"):
        await House(tmp_path).handovers().attempt(failure("nobody"))
