"""A step in the making: the next state, the effects and the facts collected so far."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from razar.engine.effects import CancelTimer, Effect
from razar.engine.facts import Fact, Transition
from razar.engine.plan import Plan
from razar.engine.state import ComponentState, MissionState, State

__all__ = ["Draft", "Step"]


class Step(Struct, frozen=True):
    """The outcome of one event. ``state`` is the same object if nothing changed."""

    state: MissionState
    effects: tuple[Effect, ...]
    facts: tuple[Fact, ...]


class Draft:
    """Copies on the first write, so that an event without consequence costs nothing."""

    def __init__(self, plan: Plan, state: MissionState, now: float, jitter: float) -> None:
        self.plan = plan
        self.now = now
        self.jitter = jitter
        self.effects: list[Effect] = []
        self.facts: list[Fact] = []
        #: Components whose dependencies may have changed and that must be looked at again.
        self.reconsider: list[str] = []
        self._before = state
        self._components = state.components
        self._mission: dict[str, Any] = {}

    def __getitem__(self, id: str) -> ComponentState:
        return self._components[id]

    @property
    def phase(self) -> str:
        """The phase as changed so far."""
        phase: str = self._mission.get("phase", self._before.phase)
        return phase

    @property
    def cursor(self) -> int:
        """The position before which nothing is left to do in this phase."""
        cursor: int = self._mission.get("cursor", self._before.cursor)
        return cursor

    @property
    def turn(self) -> str | None:
        """The component whose ignition the sequence waits for."""
        turn: str | None = self._mission.get("turn", self._before.turn)
        return turn

    @property
    def hurry(self) -> bool:
        """Whether every grace period has been reduced to zero."""
        hurry: bool = self._mission.get("hurry", self._before.hurry)
        return hurry

    @property
    def before(self) -> MissionState:
        """The state the step started from."""
        return self._before

    def mission(self, **changes: Any) -> None:
        """Change fields of the mission itself."""
        self._mission.update(changes)

    def set(self, id: str, **changes: Any) -> ComponentState:
        """Change fields of one component without a transition."""
        if self._components is self._before.components:
            self._components = dict(self._components)
        component = replace(self._components[id], **changes)
        self._components[id] = component
        return component

    def enter(
        self, id: str, after: State, cause: str, *, tail: tuple[str, ...] = (), **changes: Any
    ) -> ComponentState:
        """Move a component to another state and say so."""
        before = self._components[id]
        since = before.since if after == before.state else self.now
        component = self.set(id, state=after, since=since, **changes)
        self.facts.append(
            Transition(
                component=id,
                layer=before.layer,
                before=before.state,
                after=after,
                incarnation=component.incarnation,
                at=self.now,
                cause=cause,
                error=component.error,
                tail=tail,
                pid=component.pid,
                seconds=max(0.0, self.now - (before.since or self.before.began)),
            )
        )
        self.reconsider.extend(self.plan.dependents[id])
        return component

    def emit(self, *effects: Effect) -> None:
        """Ask the adapters for something."""
        self.effects.extend(effects)

    def cancel_timers(self, id: str) -> None:
        """Forget whatever timer the component's incarnation has."""
        incarnation = self._components[id].incarnation
        self.effects.extend(
            CancelTimer(id, incarnation, timer)
            for timer in ("deadline", "grace", "backoff", "stable", "held")
        )

    def finish(self) -> Step:
        """Freeze the draft."""
        if self._components is not self._before.components:
            self._mission["components"] = self._components
        state = replace(self._before, **self._mission) if self._mission else self._before
        return Step(state, tuple(self.effects), tuple(self.facts))
