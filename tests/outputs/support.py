"""Facts as the real engine makes them."""

from __future__ import annotations

from typing import Any

from razar.config.model import Component, MissionConfig, Probe
from razar.engine import events
from razar.engine.facts import Fact
from razar.engine.mission import initial, step
from razar.engine.plan import compile_plan
from razar.engine.state import MissionState

BEGAN = 1758412800.0
"""2025-09-21T00:00:00Z"""


def component(id: str, **changes: Any) -> Component:
    settings: dict[str, Any] = {"layer": "core", "argv": ("true",), "probe": Probe(kind="tcp")}
    return Component(id=id, **(settings | changes))


class Story:
    """A mission that is told to several projections, as the runtime tells it."""

    def __init__(self, *components: Component, repair: bool = False, ignition: str = "parallel") -> None:
        config = MissionConfig(
            mission="demo",
            components=components,
            root="/",
            path="/b",
            ignition=ignition,  # type: ignore[arg-type]
        )
        self.plan = compile_plan(config, repair=[one.id for one in components] if repair else ())
        self.state: MissionState = initial(self.plan)
        self.now = BEGAN
        self.told: list[tuple[Fact, MissionState]] = []

    def take(self, event: events.Event, after: float = 0.0) -> Story:
        self.now += after
        outcome = step(self.plan, self.state, event, self.now, 0.0)
        self.state = outcome.state
        self.told += [(fact, outcome.state) for fact in outcome.facts]
        return self

    def tell(self, projection: Any) -> None:
        """Tell everything that has become true so far."""
        for fact, state in self.told:
            projection.fact(fact, state)

    def begin(self, **changes: Any) -> Story:
        self.take(events.BootStarted("boot-1", "demo"))
        return self.take(events.IgnitionBegan(**changes))

    def spawn(self, id: str, pid: int = 4711) -> Story:
        return self.take(events.Spawned(id, self.incarnation(id), pid, 1))

    def prove(self, id: str, after: float = 0.25) -> Story:
        self.spawn(id)
        return self.take(events.ProbePassed(id, self.incarnation(id)), after)

    def exit(self, id: str, code: int | None = 1, tail: tuple[str, ...] = ()) -> Story:
        return self.take(events.Exited(id, self.incarnation(id), code, None, tail), 1.0)

    def fail_probe(self, id: str, error: str) -> Story:
        return self.take(events.ProbeFailed(id, self.incarnation(id), error))

    def timer(self, id: str, timer: str, after: float = 0.0) -> Story:
        return self.take(events.TimerFired(id, self.incarnation(id), timer), after)  # type: ignore[arg-type]

    def incarnation(self, id: str) -> int:
        return self.state.components[id].incarnation
