"""What became true. Log, console, state file, metrics and traces are projections of these."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from razar.engine.state import State

__all__ = ["Fact", "MissionSettled", "MissionStopped", "Transition"]


class Transition(Struct, frozen=True, kw_only=True):
    """A component went from one state to another (or re-entered ``igniting`` as a new incarnation).

    ``cause`` is a word for the reader of metrics: ``boot``, ``spawned``, ``healthy``, ``exit``,
    ``launch``, ``deadline``, ``liveness``, ``restart``, ``operator``, ``shutdown``, ``dependency``,
    ``repair``, ``approval``, ``hold``. ``error`` is for people. ``tail`` is the end of the component's log.
    """

    component: str
    layer: str
    before: State
    after: State
    incarnation: int
    at: float
    cause: str
    error: str | None = None
    tail: tuple[str, ...] = ()
    pid: int | None = None
    seconds: float = 0.0


class MissionSettled(Struct, frozen=True, kw_only=True):
    """The boot has ended: every component is up or given up."""

    outcome: Literal["complete", "failed"]
    reason: str | None
    at: float
    seconds: float


class MissionStopped(Struct, frozen=True, kw_only=True):
    """Everything has been stopped."""

    at: float
    reason: str


Fact = Transition | MissionSettled | MissionStopped
