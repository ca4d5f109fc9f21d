"""A mission driven by hand: one call per event, with the last effects and facts at hand."""

from __future__ import annotations

from typing import Any, TypeVar

from razar.config.model import Component, MissionConfig, Probe
from razar.engine import events
from razar.engine.effects import Effect
from razar.engine.facts import Fact
from razar.engine.mission import initial, step
from razar.engine.plan import compile_plan
from razar.engine.state import ComponentState

E = TypeVar("E", bound=Effect)


def component(id: str, **changes: Any) -> Component:
    """A component with a TCP probe."""
    settings: dict[str, Any] = {"layer": "core", "argv": ("true",), "probe": Probe(kind="tcp")}
    return Component(id=id, **(settings | changes))


class Mission:
    """Holds the state between steps."""

    def __init__(self, *components: Component, ignition: str = "sequential", repair: bool = False) -> None:
        config = MissionConfig(
            mission="m",
            components=components,
            root="/",
            path="/b",
            ignition=ignition,  # type: ignore[arg-type]
        )
        self.plan = compile_plan(config, repair=[one.id for one in components] if repair else ())
        self.state = initial(self.plan)
        self.now = 1000.0
        self.effects: tuple[Effect, ...] = ()
        self.facts: tuple[Fact, ...] = ()

    def __getitem__(self, id: str) -> ComponentState:
        return self.state.components[id]

    def states(self) -> dict[str, str]:
        return {id: component.state for id, component in self.state.components.items()}

    def take(self, event: events.Event, after: float = 0.0, jitter: float = 0.0) -> Mission:
        self.now += after
        outcome = step(self.plan, self.state, event, self.now, jitter)
        self.state, self.effects, self.facts = outcome.state, outcome.effects, outcome.facts
        return self

    def asked(self, kind: type[E]) -> list[E]:
        """The last effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    # -- the usual course ---------------------------------------------------------------------

    def begin(self, **changes: Any) -> Mission:
        self.take(events.BootStarted("boot", "m"))
        return self.take(events.IgnitionBegan(**changes))

    def spawn(self, id: str) -> Mission:
        return self.take(events.Spawned(id, self[id].incarnation, 4711, 1))

    def prove(self, id: str) -> Mission:
        self.spawn(id)
        return self.take(events.ProbePassed(id, self[id].incarnation))

    def exit(
        self, id: str, code: int | None = 1, signal: str | None = None, tail: tuple[str, ...] = ()
    ) -> Mission:
        return self.take(events.Exited(id, self[id].incarnation, code, signal, tail))

    def timer(self, id: str, timer: str, after: float = 0.0) -> Mission:
        return self.take(events.TimerFired(id, self[id].incarnation, timer), after)  # type: ignore[arg-type]
