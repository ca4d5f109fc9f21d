"""All components together: order, dependencies, holds, the end of the boot, the stop."""

from __future__ import annotations

import pytest

from razar.config.model import Dependency, MissionConfig, Probe
from razar.engine import effects, events
from razar.engine.facts import MissionSettled, MissionStopped, Transition
from razar.engine.mission import anything_left, verdict
from razar.engine.plan import compile_plan, waves

from .support import Mission, component


def after(*ids: str, condition: str = "healthy") -> tuple[Dependency, ...]:
    return tuple(Dependency(id, condition) for id in ids)  # type: ignore[arg-type]


def test_the_order_keeps_the_file_where_dependencies_allow() -> None:
    parts = (component("web", depends_on=after("db")), component("cache"), component("db"))
    plan = compile_plan(MissionConfig(mission="m", components=parts, root="/", path="/b"))
    assert plan.order == ("db", "web", "cache")
    assert waves(plan) == (("db", "cache"), ("web",))


def test_a_chain_of_thousands_does_not_exhaust_the_stack() -> None:
    parts = [component("c0")] + [component(f"c{i}", depends_on=after(f"c{i - 1}")) for i in range(1, 5000)]
    plan = compile_plan(MissionConfig(mission="m", components=tuple(reversed(parts)), root="/", path="/b"))
    assert plan.order[0] == "c0" and plan.order[-1] == "c4999"


def test_in_sequence_the_next_starts_when_the_one_before_is_healthy() -> None:
    mission = Mission(component("a"), component("b")).begin()
    assert mission.states() == {"a": "igniting", "b": "pending"}
    mission.prove("a")
    assert mission.asked(effects.Launch) == [effects.Launch("b", 1)]
    mission.prove("b")
    assert mission.facts[-1] == MissionSettled(outcome="complete", reason=None, at=1000.0, seconds=0.0)


def test_the_first_change_of_a_component_counts_from_the_beginning_of_the_boot() -> None:
    mission = Mission(component("a")).begin()
    assert [(fact.after, fact.seconds) for fact in mission.facts if isinstance(fact, Transition)] == [
        ("igniting", 0.0)
    ]


def test_in_parallel_each_starts_as_soon_as_it_may() -> None:
    mission = Mission(
        component("a"), component("b"), component("c", depends_on=after("a", "b")), ignition="parallel"
    ).begin()
    assert mission.states() == {"a": "igniting", "b": "igniting", "c": "pending"}
    assert mission.prove("a").states()["c"] == "pending"
    assert mission.prove("b").states()["c"] == "igniting"


@pytest.mark.parametrize(
    ("condition", "when"), [("started", "spawned"), ("healthy", "proven"), ("completed", "done")]
)
def test_conditions(condition: str, when: str) -> None:
    first = component("a", kind="task", probe=Probe(kind="log", target="ready"))
    mission = Mission(
        first, component("b", depends_on=after("a", condition=condition)), ignition="parallel"
    ).begin()
    reached = {}
    mission.spawn("a")
    reached["spawned"] = mission["b"].state
    mission.take(events.ProbePassed("a", 1))
    reached["proven"] = mission["b"].state
    mission.exit("a", 0)
    reached["done"] = mission["b"].state
    expected = list(reached).index(when)
    assert list(reached.values()) == ["pending"] * expected + ["igniting"] * (3 - expected)


def test_a_failed_dependency_blocks_and_the_rest_keeps_running() -> None:
    mission = (
        Mission(
            component("a", retries=0),
            component("b", depends_on=after("a")),
            component("c", depends_on=after("b")),
            component("d"),
        )
        .begin()
        .spawn("a")
        .exit("a")
        .prove("d")
    )
    assert mission.states() == {"a": "quarantined", "b": "blocked", "c": "blocked", "d": "running"}
    assert mission["c"].error == "b, which it depends on, is blocked"
    assert mission.state.outcome == "failed" and "a is quarantined" in (mission.state.reason or "")


def test_release_frees_everything_that_was_blocked() -> None:
    mission = (
        Mission(component("a", retries=0), component("b", depends_on=after("a"))).begin().spawn("a").exit("a")
    )
    mission.take(events.OperatorReleased("a"))
    assert mission.states() == {"a": "igniting", "b": "pending"}
    mission.prove("a")
    assert mission["b"].state == "igniting"
    assert verdict(mission.plan, mission.prove("b").state) is None


def test_an_optional_failure_does_not_fail_the_mission() -> None:
    mission = Mission(component("a", retries=0, criticality="optional"), component("b")).begin()
    mission.spawn("a").exit("a").prove("b")
    assert mission.state.outcome == "complete"


def test_a_skipped_dependency_counts_as_satisfied() -> None:
    mission = Mission(component("a"), component("b", depends_on=after("a"))).begin(
        skipped={"a": "its condition is false"}
    )
    assert mission.states() == {"a": "skipped", "b": "igniting"}


def test_a_hold_passes_on_to_dependents_and_ends_with_its_time() -> None:
    mission = Mission(component("a"), component("b", depends_on=after("a")), component("c")).begin(
        held={"a": ("maintenance", 1100.0)}
    )
    assert mission.states() == {"a": "held", "b": "held", "c": "igniting"}
    mission.prove("c")
    assert mission.state.outcome == "complete" and anything_left(mission.state)
    mission.timer("a", "held", 100)
    assert mission.states() == {"a": "igniting", "b": "pending", "c": "running"}
    assert mission.prove("a").states()["b"] == "igniting"


def test_while_one_is_being_repaired_independent_ones_go_on() -> None:
    mission = (
        Mission(component("a", retries=0), component("b", depends_on=after("a")), component("c"), repair=True)
        .begin()
        .spawn("a")
        .exit("a")
    )
    assert mission.states() == {"a": "repairing", "b": "pending", "c": "igniting"}
    mission.prove("c")
    assert mission.state.phase == "igniting"
    mission.take(events.RepairFinished("a", 1, True)).prove("a").prove("b")
    assert mission.state.outcome == "complete"


def test_quarantine_from_an_earlier_boot_is_kept() -> None:
    mission = Mission(component("a"), component("b")).begin(quarantined={"a": "since yesterday"}).prove("b")
    assert mission.states() == {"a": "quarantined", "b": "running"} and mission.state.outcome == "failed"


def test_sequential_stop_is_strictly_in_reverse() -> None:
    mission = Mission(component("a"), component("b")).begin().prove("a").prove("b")
    mission.take(events.ShutdownRequested("SIGTERM"))
    assert mission.states() == {"a": "running", "b": "stopping"}
    mission.exit("b", None, "TERM")
    assert mission.states() == {"a": "stopping", "b": "stopped"}
    mission.exit("a", None, "TERM")
    assert isinstance(mission.facts[-1], MissionStopped) and mission.state.outcome == "complete"


def test_parallel_stop_waits_for_dependents_only() -> None:
    mission = (
        Mission(component("a"), component("b", depends_on=after("a")), component("c"), ignition="parallel")
        .begin()
        .prove("a")
        .prove("b")
        .prove("c")
    )
    mission.take(events.ShutdownRequested("SIGTERM"))
    assert mission.states() == {"a": "running", "b": "stopping", "c": "stopping"}
    mission.exit("b", 0)
    assert mission["a"].state == "stopping"


def test_a_second_interrupt_kills_at_once_also_those_not_yet_asked() -> None:
    mission = Mission(component("a"), component("b")).begin().prove("a").prove("b")
    mission.take(events.ShutdownRequested("SIGINT")).take(events.ShutdownRequested("SIGINT", hurry=True))
    assert mission.asked(effects.Kill) == [effects.Kill("b", 1)]
    mission.exit("b", None, "KILL")
    assert mission.asked(effects.Kill) == [effects.Kill("a", 1)]


def test_a_death_during_the_stop_is_not_restarted() -> None:
    mission = Mission(component("a"), component("b")).begin().prove("a").prove("b")
    mission.take(events.ShutdownRequested("SIGTERM")).exit("a", 1)
    assert mission["a"].state == "stopped" and not mission.asked(effects.Launch)


def test_shutdown_before_anything_started_ends_at_once() -> None:
    mission = Mission(component("a")).take(events.BootStarted("boot", "m"))
    mission.take(events.ShutdownRequested("SIGTERM"))
    assert mission.state.phase == "stopped" and mission["a"].state == "stopped"


def test_a_dependency_that_is_stopped_blocks_waiters() -> None:
    mission = Mission(component("a"), component("b", depends_on=after("a")), ignition="parallel").begin()
    mission.take(events.OperatorStopped("a")).spawn("a").exit("a", None, "TERM")
    assert mission.states() == {"a": "stopped", "b": "blocked"}
