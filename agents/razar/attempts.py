"""What goes into one attempt to repair a component, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

__all__ = ["Attempt", "Exhausted", "Failure", "Kind", "Outcome", "Say"]

#: Tells people something: a level and a text.
Say = Callable[[Literal["INFO", "WARN", "ERROR"], str], None]
Outcome = Literal["applied", "proposed", "refused", "failed"]
#: Why no further attempt is worth it. After ``ladder``, ``class`` and ``proposal`` it is the operator's
#: turn; ``budget``, ``paused`` and ``configuration`` say nothing about the failure itself.
Kind = Literal["ladder", "class", "proposal", "budget", "paused", "configuration"]


class Failure(Struct, frozen=True, kw_only=True):
    """A component that failed. ``tail`` holds the last lines of its log, raw; ``at`` is epoch seconds."""

    component: str
    error: str
    tail: tuple[str, ...] = ()
    at: float
    traceparent: str | None = None


class Attempt(Struct, frozen=True, kw_only=True):
    """What became of one handover.

    ``applied``: files were changed; the caller rebuilds ``rebuild_layer`` if there is one, relaunches,
    probes, and calls ``settle``. ``proposed``: a change is there and was not made. ``refused``: the
    suggestion was no good. ``failed``: there was none. ``event`` is ``attempt``, or ``wait`` for what was
    none: nobody could be asked yet. ``number`` counts the attempts since the last repair that held.
    ``seconds`` is what all of it took, ``asked`` the call of the agent alone.
    ``agent`` is the rung of the ladder, ``memory`` or ``local``. ``wait`` is how many seconds the caller
    lets pass before the next attempt. ``diff`` is for people, ``repair`` what memory keeps.
    """

    component: str
    number: int
    agent: str
    outcome: Outcome
    reason: str
    error: str
    agent_original: str | None = None
    event: Literal["attempt", "wait"] = "attempt"
    patch_id: str | None = None
    seconds: float = 0.0
    asked: float = 0.0
    tokens: int | None = None
    fingerprint: str | None = None
    wait: float = 0.0
    rebuild_layer: str | None = None
    diff: str = ""
    repair: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return self.outcome == "applied"


class Exhausted(Exception):
    """No further attempt is worth it; the message says why, for people. ``remediation`` says what to do."""

    def __init__(self, reason: str, kind: Kind, remediation: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind: Kind = kind
        self.remediation = remediation
