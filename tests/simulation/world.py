"""A simulated machine: virtual time, processes with a will of their own, and every fault adapters can report.

The world carries out the engine's effects and feeds its events back; nothing here knows how the
engine decides. All randomness comes from one seed, so that a failing mission can be run again.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from razar.config.model import Component, Dependency, MissionConfig, Probe, Restart, Stop
from razar.engine import effects, events
from razar.engine.facts import MissionSettled, MissionStopped, Transition
from razar.engine.mission import initial, step
from razar.engine.plan import Plan, compile_plan
from razar.engine.state import MissionState

CONDITIONS = ("healthy", "healthy", "started", "completed")


@dataclass
class Process:
    """One simulated incarnation."""

    component: str
    incarnation: int
    stubborn: bool
    healthy_at: float
    alive: bool = True
    probing: str | None = None


@dataclass
class World:
    """A mission in a random world. ``run`` ends when the mission has stopped."""

    seed: int
    plan: Plan
    random: random.Random
    now: float = 1_000_000.0
    state: MissionState = field(init=False)
    processes: dict[str, Process] = field(default_factory=dict)
    timers: dict[tuple[str, int, str], int] = field(default_factory=dict)
    tape: list[tuple[events.Event, float, float]] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    settled: list[MissionSettled] = field(default_factory=list)
    stopped: list[MissionStopped] = field(default_factory=list)
    launches: dict[str, int] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)
    judged: dict[str, list[bool]] = field(default_factory=dict)
    quarantined: list[str] = field(default_factory=list)
    _queue: list[tuple[float, int, Callable[[], events.Event | None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.state = initial(self.plan)

    # -- time -------------------------------------------------------------------------------

    def at(self, when: float, event: Callable[[], events.Event | None]) -> int:
        number = next(self._numbers)
        heapq.heappush(self._queue, (max(when, self.now), number, event))
        return number

    def soon(self, event: events.Event, within: float = 0.01) -> None:
        self.at(self.now + self.random.random() * within, lambda: event)

    def run(self, check: Callable[[World, events.Event], None], *, limit: int = 20_000) -> None:
        for _ in range(limit):
            if not self._queue:
                return
            self.now, _, produce = heapq.heappop(self._queue)
            event = produce()
            if event is not None:
                self.take(event)
                check(self, event)
            if self.state.phase == "stopped":
                return
        raise AssertionError(f"seed {self.seed}: the mission has not stopped after {limit} events")

    def take(self, event: events.Event) -> None:
        jitter = self.random.random()
        outcome = step(self.plan, self.state, event, self.now, jitter)
        self.tape.append((event, self.now, jitter))
        self.state = outcome.state
        for fact in outcome.facts:
            if isinstance(fact, Transition):
                self.transitions.append(fact)
            elif isinstance(fact, MissionSettled):
                self.settled.append(fact)
            else:
                self.stopped.append(fact)
        for effect in outcome.effects:
            self.carry_out(effect)

    # -- adapters ---------------------------------------------------------------------------

    def carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Launch():
                self.launch(effect)
            case effects.Probe(component, incarnation, phase):
                process = self.process(component, incarnation)
                if process is not None:
                    process.probing = phase
                    self.probe(process, phase)
            case effects.StopProbing(component, incarnation):
                process = self.process(component, incarnation)
                if process is not None:
                    process.probing = None
            case effects.Signal(component, incarnation):
                process = self.process(component, incarnation)
                assert process is not None, f"seed {self.seed}: signal to nobody: {effect}"
                if not process.stubborn:
                    self.end(process, self.now + self.random.random() * 0.5)
            case effects.Kill(component, incarnation):
                process = self.process(component, incarnation)
                assert process is not None, f"seed {self.seed}: kill of nobody: {effect}"
                self.end(process, self.now + 0.001)
            case effects.SetTimer(component, incarnation, timer, at):
                key = (component, incarnation, timer)
                self.timers[key] = self.at(at, lambda: self.fire(key, number))
                number = self.timers[key]
            case effects.CancelTimer(component, incarnation, timer):
                # A timer that has run out may be on its way already: cancelling is sometimes too late.
                if self.random.random() < 0.95:
                    self.timers.pop((component, incarnation, timer), None)
            case effects.RequestRepair(component, incarnation):
                assert component not in self.repairs, f"seed {self.seed}: {component} is repaired twice"
                self.repair(component, incarnation)
            case effects.CancelRepair(component):
                assert component in self.repairs, f"seed {self.seed}: no repair of {component} to call off"
                del self.repairs[component]
            case effects.SettleRepair(component, _, patch, held):
                self.judged[patch].append(held)
            case effects.Quarantine(component):
                self.quarantined.append(component)

    def repair(self, component: str, incarnation: int) -> None:
        """Some repairs find a patch, some wait for an operator, some of those for ever."""
        number = self.repairs[component] = next(self._numbers)
        patch = f"patch-{number}"
        finished = self.now + self.random.random() * 60

        def awaits() -> events.Event | None:
            if self.repairs.get(component) != number:
                return None
            return events.RepairAwaits(component, incarnation, patch)

        def end() -> events.Event | None:
            if self.repairs.get(component) != number:
                return None
            del self.repairs[component]
            if self.random.random() < 0.5:
                return events.RepairFinished(component, incarnation, False, "no agent had an idea")
            self.judged[patch] = []
            return events.RepairFinished(component, incarnation, True, patch=patch)

        if self.random.random() < 0.3:
            self.at(finished, awaits)
            if self.random.random() < 0.3:
                return
            finished += self.random.random() * 100
        self.at(finished, end)

    def process(self, component: str, incarnation: int) -> Process | None:
        process = self.processes.get(component)
        if process is None or process.incarnation != incarnation:
            return None
        return process

    def fire(self, key: tuple[str, int, str], number: int) -> events.Event | None:
        if self.timers.get(key) != number:
            return None
        del self.timers[key]
        return events.TimerFired(*key)  # type: ignore[arg-type]

    def launch(self, effect: effects.Launch) -> None:
        id, incarnation = effect.component, effect.incarnation
        assert id not in self.processes, f"seed {self.seed}: a second {id} beside {self.processes[id]}"
        self.launches[id] = self.launches.get(id, 0) + 1
        luck = self.random.random()
        if luck < 0.05:
            self.soon(events.LaunchFailed(id, incarnation, "no such file"))
            return
        process = Process(
            id,
            incarnation,
            stubborn=self.random.random() < 0.1,
            healthy_at=self.now + self.random.choice((0.0, 0.05, 1.0, 1e9)) * (0.5 + self.random.random()),
        )
        self.processes[id] = process
        self.soon(events.Spawned(id, incarnation, 100 + next(self._numbers), 1), 0.002)
        if luck < 0.2:
            self.end(process, self.now + self.random.random() * 2)
        elif luck < 0.35:
            self.end(process, self.now + self.random.random() * 100)
        elif self.plan.components[id].kind == "task":
            self.end(process, self.now + self.random.random() * 5, code=0)

    def probe(self, process: Process, phase: str) -> None:
        def result() -> events.Event | None:
            if process.probing != phase and self.random.random() < 0.9:
                return None
            if not process.alive and self.random.random() < 0.9:
                return None
            self.probe(process, phase)
            if self.now >= process.healthy_at and self.random.random() < 0.95:
                return events.ProbePassed(process.component, process.incarnation)
            return events.ProbeFailed(process.component, process.incarnation, "connection refused")

        if process.alive:
            interval = 0.1 if phase == "readiness" else 5.0
            self.at(self.now + interval * self.random.random(), result)

    def end(self, process: Process, when: float, code: int | None = None) -> None:
        def exit_now() -> events.Event | None:
            if not process.alive:
                return None
            process.alive = False
            if self.processes.get(process.component) is process:
                del self.processes[process.component]
            chosen = self.random.choice((0, 1, 3)) if code is None else code
            if self.random.random() < 0.05:  # a late echo that must change nothing
                self.soon(events.Exited(process.component, process.incarnation, 9), 50)
            return events.Exited(process.component, process.incarnation, chosen)

        self.at(when, exit_now)


def random_plan(rng: random.Random) -> Plan:
    """A plan of one to eight components with random dependencies and policies."""
    ids = [f"c{number}" for number in range(rng.randint(1, 8))]
    components = []
    for index, id in enumerate(ids):
        kind = "task" if rng.random() < 0.2 else "service"
        parents = rng.sample(ids[:index], k=min(index, rng.choice((0, 0, 1, 1, 2))))
        components.append(
            Component(
                id=id,
                layer=rng.choice(("core", "crown")),
                argv=("true",),
                kind=kind,
                probe=Probe(
                    kind="exit" if kind == "task" and rng.random() < 0.7 else "tcp",
                    deadline=rng.choice((0.5, 5.0, 60.0)),
                    failures=rng.randint(1, 3),
                    successes=rng.randint(1, 2),
                ),
                depends_on=tuple(Dependency(p, rng.choice(CONDITIONS)) for p in parents),
                criticality="optional" if rng.random() < 0.3 else "required",
                restart=Restart(
                    policy=rng.choice(("on-failure", "on-failure", "always", "never")),
                    backoff=rng.choice((0.0, 0.5)),
                    limit=rng.randint(0, 4),
                    window=rng.choice((10.0, 600.0)),
                ),
                stop=Stop(grace=rng.choice((0.0, 1.0, 10.0))),
                retries=rng.randint(0, 2),
            )
        )
    rng.shuffle(components)
    config = MissionConfig(
        mission="simulated",
        ignition=rng.choice(("sequential", "parallel")),
        components=tuple(components),
        root="/",
        path="/boot_config.json",
    )
    return compile_plan(config, repair=[id for id in ids if rng.random() < 0.5])


def random_world(seed: int) -> World:
    """A world with its mission, an operator who meddles, and a shutdown at a random instant."""
    rng = random.Random(seed)
    world = World(seed, random_plan(rng), rng)
    start, ids = world.now, world.plan.order
    world.at(start, lambda: events.BootStarted("boot", "simulated"))
    begin = events.IgnitionBegan(
        skipped={id: "its condition is false" for id in ids if rng.random() < 0.05},
        held={id: ("maintenance", rng.choice((None, start + 20.0))) for id in ids if rng.random() < 0.05},
        quarantined={id: "since the last boot" for id in ids if rng.random() < 0.03},
    )
    world.at(start + 0.1, lambda: begin)
    for _ in range(rng.choice((0, 0, 1, 3))):
        order = rng.choice((events.OperatorStopped, events.OperatorRestarted, events.OperatorReleased))
        id = rng.choice(ids)
        world.at(start + rng.random() * 120, lambda order=order, id=id: order(id))
    end = start + rng.choice((0.05, 1.0, 30.0, 200.0, 1000.0)) * (0.5 + rng.random())
    world.at(end, lambda: events.ShutdownRequested("SIGTERM"))
    if rng.random() < 0.3:
        world.at(end + rng.random() * 3, lambda: events.ShutdownRequested("SIGINT", hurry=True))
    return world


def frozen(state: MissionState) -> bytes:
    """A state as bytes, for comparison."""
    return msgspec.json.encode(state)
