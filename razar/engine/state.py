"""What the engine knows: the state of every component and of the mission as a whole."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

__all__ = ["FAILING", "SETTLED", "ComponentState", "MissionState", "Phase", "State"]

State = Literal[
    "pending",
    "held",
    "skipped",
    "blocked",
    "igniting",
    "running",
    "unhealthy",
    "backoff",
    "repairing",
    "completed",
    "quarantined",
    "stopping",
    "stopped",
    "failed",
]
Phase = Literal["preparing", "igniting", "settled", "stopping", "stopped"]

#: States in which the boot no longer waits for a component.
SETTLED: frozenset[str] = frozenset(
    {"running", "completed", "skipped", "held", "blocked", "quarantined", "failed", "stopped"}
)
#: States of a component that what depends on it can no longer wait for.
FAILING: frozenset[str] = frozenset({"blocked", "quarantined", "failed", "stopped"})


class ComponentState(Struct, frozen=True, kw_only=True):
    """One component. Times are epoch seconds.

    ``live``: an incarnation was launched and has not been reported gone. ``closing`` says why it
    is being stopped: ``deadline``, ``unhealthy``, ``restart``, ``stop``; None while nobody asked.
    ``proven``: it has been healthy since its last fresh start, so failures count as restarts and
    no longer as ignition attempts. ``streak`` is the exponent of the backoff. ``hold`` is the
    reason of a Crown hold, ``until`` its end. ``awaiting`` is the patch that an operator is asked
    about, ``trial`` the one that has yet to prove itself.
    """

    id: str
    layer: str
    state: State = "pending"
    since: float = 0.0
    incarnation: int = 0
    pid: int | None = None
    live: bool = False
    closing: str | None = None
    proven: bool = False
    attempt: int = 0
    streak: int = 0
    restarts: int = 0
    restart_times: tuple[float, ...] = ()
    successes: int = 0
    failures: int = 0
    probe_error: str | None = None
    error: str | None = None
    hold: str | None = None
    until: float | None = None
    awaiting: str | None = None
    trial: str | None = None


class MissionState(Struct, frozen=True, kw_only=True):
    """The whole mission. ``components`` is never changed in place.

    ``cursor`` is a position in the plan's order before which nothing is left to do in this phase;
    it only saves looking again. ``turn`` is the component whose ignition the sequence waits for.
    """

    mission: str
    boot_id: str = ""
    phase: Phase = "preparing"
    outcome: Literal["complete", "failed"] | None = None
    reason: str | None = None
    hurry: bool = False
    began: float = 0.0
    settled_at: float | None = None
    cursor: int = 0
    turn: str | None = None
    environments: dict[str, str] = {}
    components: dict[str, ComponentState] = {}
    handshake: dict[str, Any] = {}
    model_launches: tuple[dict[str, Any], ...] = ()
    memory: dict[str, Any] = {}
    core: str | None = None
