"""Thousands of missions in random worlds, with invariants after every event."""

from __future__ import annotations

import pytest

from razar.engine import events
from razar.engine.mission import initial, step
from razar.engine.state import SETTLED, MissionState

from .world import World, frozen, random_world

MISSIONS = 2400
CHUNKS = 8


class Invariants:
    """What must hold after every event, whatever the world does."""

    def __init__(self, world: World) -> None:
        self.before = world.state
        self.seen = 0

    def __call__(self, world: World, event: events.Event) -> None:
        where = f"seed {world.seed}, after {event}"
        previous, state = self.before, world.state
        self.before = state
        for id, component in state.components.items():
            earlier = previous.components[id]
            process = world.processes.get(id)
            assert component.incarnation >= earlier.incarnation, where
            assert component.restarts >= earlier.restarts, where
            assert component.incarnation == world.launches.get(id, 0), where
            if process is not None:
                assert component.live, f"{where}: {id} is lost: {component}"
                assert component.incarnation == process.incarnation, where
            if not component.live:
                assert component.pid is None and process is None, where
                assert component.state not in ("igniting", "running", "unhealthy", "stopping"), where
            if component.state in ("running", "unhealthy"):
                assert component.pid is not None, where
            if component.state == "quarantined" and earlier.state not in ("quarantined", "pending"):
                assert id in world.quarantined, where
            if component.state == "backoff":
                assert (id, component.incarnation, "backoff") in world.timers, f"{where}: {id} never wakes"
            assert (component.state == "repairing") == (id in world.repairs), where
            if component.trial is not None:
                assert component.state != "repairing", where
                assert world.judged[component.trial] in ([], [True]), f"{where}: {component} is judged"
        self._ignition_order(world, where)
        self._sequence(world, state, where)

    def _ignition_order(self, world: World, where: str) -> None:
        """A component is first ignited only when what it depends on satisfies its condition."""
        for fact in world.transitions[self.seen :]:
            if fact.after != "igniting" or fact.cause != "boot":
                continue
            for dependency in world.plan.components[fact.component].depends_on:
                other = world.state.components[dependency.id]
                allowed = {
                    "healthy": {"running", "completed", "skipped"},
                    "completed": {"completed", "skipped"},
                }
                if dependency.condition in allowed:
                    assert other.state in allowed[dependency.condition], f"{where}: {other}"
                else:
                    assert other.pid is not None or other.state in ("completed", "skipped"), where
        self.seen = len(world.transitions)

    def _sequence(self, world: World, state: MissionState, where: str) -> None:
        if world.plan.parallel or state.phase != "igniting":
            return
        first = [c for c in state.components.values() if c.state == "igniting" and not c.proven]
        assert len(first) <= 1, f"{where}: {[c.id for c in first]} ignite at once"


def check_end(world: World) -> None:
    """The mission has stopped: nothing is left, and the tape tells the same story."""
    where = f"seed {world.seed}"
    assert world.state.phase == "stopped", where
    assert not world.processes, f"{where}: left running: {world.processes}"
    assert len(world.stopped) == 1, where
    assert len(world.settled) <= 1, where
    for component in world.state.components.values():
        assert component.state in SETTLED, f"{where}: {component}"
    # What never came to a trial, because the component waited for another, is undone by the adapters' end.
    open_ = {component.trial for component in world.state.components.values() if component.state == "blocked"}
    for patch, verdicts in world.judged.items():
        assert verdicts in ([True], [False], [True, False]) or patch in open_, f"{where}: {patch} {verdicts}"
    state = initial(world.plan)
    for event, at, jitter in world.tape:
        state = step(world.plan, state, event, at, jitter).state
    assert frozen(state) == frozen(world.state), f"{where}: the replay differs"


def check_stop_order(world: World) -> None:
    """During shutdown a component is asked to stop only when nothing above it is alive."""
    alive: dict[str, bool] = {}
    for fact in world.transitions:
        if fact.after == "stopping" and fact.cause == "shutdown":
            above = world.plan.dependents[fact.component]
            still = [id for id in above if alive.get(id)]
            assert not still, f"seed {world.seed}: {fact.component} is stopped before {still}"
        alive[fact.component] = fact.after in ("igniting", "running", "unhealthy", "stopping")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_invariants_hold_in_every_world(chunk: int) -> None:
    settled = 0
    for seed in range(chunk, MISSIONS, CHUNKS):
        world = random_world(seed)
        world.run(Invariants(world))
        check_end(world)
        check_stop_order(world)
        settled += len(world.settled)
    assert settled > MISSIONS // CHUNKS // 4, "too few missions ended their boot: the worlds are too hostile"


def test_a_step_never_changes_the_state_it_was_given() -> None:
    for seed in range(40):
        world = random_world(seed)
        snapshots = [(world.state, frozen(world.state))]

        def remember(world: World, event: events.Event, snapshots: list = snapshots) -> None:
            snapshots.append((world.state, frozen(world.state)))

        world.run(remember)
        assert all(frozen(state) == bytes_ for state, bytes_ in snapshots)
