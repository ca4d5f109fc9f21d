"""What the engine asks the adapters to do. Effects are carried out after their event is journalled."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "CancelRepair",
    "CancelTimer",
    "Effect",
    "Kill",
    "Launch",
    "Probe",
    "Quarantine",
    "RequestRepair",
    "SetTimer",
    "SettleRepair",
    "Signal",
    "StopProbing",
]


class _Effect(Struct, frozen=True):
    component: str
    incarnation: int


class Launch(_Effect, frozen=True):
    """Start this incarnation; answer with Spawned or LaunchFailed."""


class Probe(_Effect, frozen=True):
    """Probe until told otherwise; a second one replaces the first."""

    phase: Literal["readiness", "liveness"]


class StopProbing(_Effect, frozen=True):
    """Stop probing this incarnation."""


class Signal(_Effect, frozen=True):
    """Ask the incarnation's processes to stop. ``signal`` is a name without ``SIG``."""

    signal: str


class Kill(_Effect, frozen=True):
    """KILL the incarnation's process group and every descendant."""


class SetTimer(_Effect, frozen=True):
    """Answer with TimerFired at ``at`` (epoch seconds)."""

    timer: Literal["deadline", "grace", "backoff", "stable", "held"]
    at: float


class CancelTimer(_Effect, frozen=True):
    """Forget a timer that was set."""

    timer: Literal["deadline", "grace", "backoff", "stable", "held"]


class RequestRepair(_Effect, frozen=True):
    """Hand the failure to repair; answer with RepairFinished, or RepairAwaits first."""

    error: str


class CancelRepair(_Effect, frozen=True):
    """The component was stopped or started anew meanwhile: end its repair, undo what is half done."""


class SettleRepair(_Effect, frozen=True):
    """A patch was judged by what the component did: keep it (``held``) or undo it.

    A patch that was kept may be undone after all, if the component does not stay healthy.
    """

    patch: str
    held: bool
    error: str | None = None


class Quarantine(_Effect, frozen=True):
    """Record that the component was given up."""

    error: str


Effect = (
    Launch
    | Probe
    | StopProbing
    | Signal
    | Kill
    | SetTimer
    | CancelTimer
    | RequestRepair
    | CancelRepair
    | SettleRepair
    | Quarantine
)
