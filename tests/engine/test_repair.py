"""Repair: a patch is on trial until the component has been healthy for a while; approval holds up nobody."""

from __future__ import annotations

import pytest

from razar.config.model import Dependency, Probe
from razar.engine import effects, events
from razar.engine.facts import MissionSettled
from razar.engine.mission import anything_left, verdict

from .support import Mission, component

SETTLE = effects.SettleRepair


def broken(*others: object, **changes: object) -> Mission:
    """``a`` has failed and is being repaired."""
    a = component("a", retries=0, **changes)
    return Mission(a, *others, repair=True).begin().spawn("a").exit("a")  # type: ignore[arg-type]


def on_trial(**changes: object) -> Mission:
    return broken(**changes).take(events.RepairFinished("a", 1, True, patch="p"))


def test_health_keeps_the_patch_and_thirty_seconds_end_its_trial() -> None:
    mission = on_trial().prove("a")
    assert mission.asked(SETTLE) == [SETTLE("a", 2, "p", True)]
    assert mission["a"].trial == "p"
    mission.timer("a", "stable", 30)
    assert mission["a"].trial is None and not mission.asked(SETTLE)
    mission.exit("a", 1)
    assert not mission.asked(SETTLE) and mission["a"].state == "backoff"


def test_a_failure_before_health_undoes_the_patch_and_hands_over_again_without_a_retry() -> None:
    mission = on_trial().spawn("a").exit("a", 3)
    error = "exited with code 3 before it was healthy"
    assert mission.asked(SETTLE) == [SETTLE("a", 2, "p", False, error)]
    assert mission.asked(effects.RequestRepair) == [effects.RequestRepair("a", 2, error)]
    kinds = [type(effect) for effect in mission.effects]
    assert kinds.index(SETTLE) < kinds.index(effects.RequestRepair)
    assert mission["a"].state == "repairing" and mission["a"].trial is None


def test_a_failure_soon_after_health_undoes_what_was_kept() -> None:
    mission = on_trial().prove("a").exit("a", None, "SEGV")
    assert mission.asked(SETTLE) == [SETTLE("a", 2, "p", False, "killed by SIGSEGV")]
    assert mission["a"].state == "repairing"


def test_a_component_on_trial_that_turns_unhealthy_loses_its_patch() -> None:
    mission = on_trial(probe=Probe(kind="tcp", failures=1)).prove("a")
    mission.take(events.ProbeFailed("a", 2, "timed out")).exit("a", None, "TERM")
    assert [effect.held for effect in mission.asked(SETTLE)] == [False]


def test_a_task_that_ends_well_keeps_the_patch() -> None:
    mission = on_trial(kind="task", probe=Probe(kind="exit")).spawn("a").exit("a", 0)
    assert [effect.held for effect in mission.asked(SETTLE)] == [True]
    assert mission["a"].state == "completed" and mission["a"].trial is None


@pytest.mark.parametrize("end", [events.ShutdownRequested("SIGTERM"), events.OperatorStopped("a")])
def test_a_stop_before_health_undoes_the_patch(end: events.Event) -> None:
    mission = on_trial().spawn("a").take(end).exit("a", None, "TERM")
    assert [effect.held for effect in mission.asked(SETTLE)] == [False]
    assert mission["a"].state == "stopped" and mission["a"].trial is None


def test_a_stop_after_health_keeps_the_patch() -> None:
    mission = on_trial().prove("a").take(events.ShutdownRequested("SIGTERM")).exit("a", None, "TERM")
    assert not mission.asked(SETTLE) and mission["a"].trial is None


@pytest.mark.parametrize("order", [events.OperatorStopped, events.OperatorRestarted])
def test_an_operator_who_steps_in_calls_the_repair_off(order: type[events.OperatorStopped]) -> None:
    mission = broken().take(order("a"))
    assert mission.asked(effects.CancelRepair) == [effects.CancelRepair("a", 1)]
    before = mission["a"]
    assert mission.take(events.RepairFinished("a", 1, True, patch="late"))["a"] == before


def test_approval_holds_up_nobody_and_blocks_what_depends_on_it() -> None:
    mission = broken(component("b", depends_on=(Dependency("a"),)), component("c")).prove("c")
    assert mission.state.phase == "igniting"
    mission.take(events.RepairAwaits("a", 1, "p"))
    assert mission.states() == {"a": "repairing", "b": "blocked", "c": "running"}
    assert "repair p waits for approval" in (mission["a"].error or "")
    assert isinstance(mission.facts[-1], MissionSettled) and mission.facts[-1].outcome == "failed"
    assert "a is repairing" in (verdict(mission.plan, mission.state) or "")
    assert anything_left(mission.state)


def test_after_the_approval_everything_comes_up() -> None:
    mission = broken(component("b", depends_on=(Dependency("a"),)))
    mission.take(events.RepairAwaits("a", 1, "p")).take(events.RepairFinished("a", 1, True, patch="p"))
    assert mission["a"].awaiting is None
    mission.prove("a").prove("b")
    assert mission.states() == {"a": "running", "b": "running"}
    assert verdict(mission.plan, mission.state) is None


def test_without_approval_it_is_quarantined() -> None:
    mission = broken().take(events.RepairAwaits("a", 1, "p"))
    mission.take(events.RepairFinished("a", 1, False, "rejected by the operator"))
    assert mission["a"].state == "quarantined" and mission["a"].awaiting is None
    assert "rejected by the operator" in (mission["a"].error or "")


def test_a_component_that_may_not_be_repaired_is_quarantined_at_once() -> None:
    mission = Mission(component("a", retries=0)).begin().spawn("a").exit("a")
    assert mission["a"].state == "quarantined" and not mission.asked(effects.RequestRepair)
