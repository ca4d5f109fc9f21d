"""Everything that can happen to a mission. The journal is a list of these.

An event about a component carries the incarnation it belongs to; one of an older incarnation
is dropped by the engine. Adapters create events, the engine alone interprets them.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

__all__ = [
    "BootStarted",
    "CoreEvaluated",
    "EnvironmentPrepared",
    "Event",
    "Exited",
    "HandshakeCompleted",
    "IgnitionBegan",
    "LaunchFailed",
    "MemoryInitialised",
    "ModelLaunched",
    "OperatorReleased",
    "OperatorRestarted",
    "OperatorStopped",
    "ProbeFailed",
    "ProbePassed",
    "RepairAwaits",
    "RepairFinished",
    "ShutdownRequested",
    "Spawned",
    "TimerFired",
]


class _Event(Struct, frozen=True, tag_field="event", tag=True, omit_defaults=True):
    pass


class BootStarted(_Event, frozen=True):
    """A boot begins. ``machine`` is the kernel's boot id: pids of another run mean nothing."""

    boot_id: str
    mission: str
    machine: str = ""


class EnvironmentPrepared(_Event, frozen=True):
    """A layer's environment is there (``built``, ``unchanged``) or could not be built (``failed``)."""

    layer: str
    outcome: Literal["built", "unchanged", "failed"]
    seconds: float = 0.0
    digest: str = ""
    error: str | None = None


class HandshakeCompleted(_Event, frozen=True):
    """Crown has answered, or has not. ``result`` is the handshake as razar_state.json shows it."""

    result: dict[str, Any]
    seconds: float = 0.0


class ModelLaunched(_Event, frozen=True):
    """The model launcher ended. ``result`` has the keys of ``model_launches`` in the state file."""

    result: dict[str, Any]


class MemoryInitialised(_Event, frozen=True):
    """The memory bundle reported on its layers (layer -> ``ready`` or ``error: …``)."""

    layers: dict[str, str]
    seconds: float = 0.0


class CoreEvaluated(_Event, frozen=True):
    """The expression core was asked for a value: ``ready`` or ``error: …``."""

    result: str
    seconds: float = 0.0


class IgnitionBegan(_Event, frozen=True):
    """Everything before the first ignition is settled.

    ``skipped`` maps a component to the reason, ``held`` to ``[reason, until]`` (epoch seconds or
    None), ``quarantined`` to the reason it has been in quarantine since an earlier boot.
    """

    skipped: dict[str, str] = {}
    held: dict[str, tuple[str, float | None]] = {}
    quarantined: dict[str, str] = {}


class Spawned(_Event, frozen=True):
    """A process was started. ``start_time`` is in clock ticks since the machine's boot.

    ``nonce`` stands in the environment of the process and of what descends from it.
    """

    component: str
    incarnation: int
    pid: int
    start_time: int = 0
    nonce: str = ""


class LaunchFailed(_Event, frozen=True):
    """No process could be started."""

    component: str
    incarnation: int
    error: str


class Exited(_Event, frozen=True):
    """The main process has ended and no descendant of it is left.

    Exactly one of ``code`` and ``signal`` (a name without ``SIG``) is set; neither if the status
    could not be learnt. ``tail`` holds the last lines of the component's log.
    """

    component: str
    incarnation: int
    code: int | None = None
    signal: str | None = None
    tail: tuple[str, ...] = ()


class ProbePassed(_Event, frozen=True):
    """One probe succeeded."""

    component: str
    incarnation: int


class ProbeFailed(_Event, frozen=True):
    """One probe failed; ``error`` says what was found and what was expected."""

    component: str
    incarnation: int
    error: str


class TimerFired(_Event, frozen=True):
    """A timer that the engine had set has run out."""

    component: str
    incarnation: int
    timer: Literal["deadline", "grace", "backoff", "stable", "held"]


class OperatorStopped(_Event, frozen=True):
    """An operator asked for one component to be stopped and to stay so."""

    component: str


class OperatorRestarted(_Event, frozen=True):
    """An operator asked for a component to be started anew, whatever its state."""

    component: str


class OperatorReleased(_Event, frozen=True):
    """An operator released a component from quarantine."""

    component: str


class RepairFinished(_Event, frozen=True):
    """A repair ended: ``patched`` relaunches the component, otherwise it is quarantined.

    ``patch`` is on trial from then on: how the component does decides whether it is kept.
    """

    component: str
    incarnation: int
    patched: bool
    reason: str | None = None
    patch: str | None = None


class RepairAwaits(_Event, frozen=True):
    """A verified patch waits for an operator's approval."""

    component: str
    incarnation: int
    patch: str


class ShutdownRequested(_Event, frozen=True):
    """Stop everything; ``hurry`` reduces every grace period to zero."""

    reason: str
    hurry: bool = False


Event = (
    BootStarted
    | EnvironmentPrepared
    | HandshakeCompleted
    | ModelLaunched
    | MemoryInitialised
    | CoreEvaluated
    | IgnitionBegan
    | Spawned
    | LaunchFailed
    | Exited
    | ProbePassed
    | ProbeFailed
    | TimerFired
    | OperatorStopped
    | OperatorRestarted
    | OperatorReleased
    | RepairAwaits
    | RepairFinished
    | ShutdownRequested
)
