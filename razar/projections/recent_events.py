"""The last things that happened, as ``events`` of razar_state.json shows them."""

from __future__ import annotations

from collections import deque
from typing import Any

from razar.engine.facts import Fact, MissionSettled, MissionStopped, Transition
from razar.engine.state import MissionState
from razar.utils.redaction import one_line

__all__ = ["LIMIT", "RecentEvents"]

#: Entries that are kept.
LIMIT = 100

#: The step that failed, by the cause of the transition.
_FAILED_AT = {"exit": "exit", "launch": "launch", "deadline": "launch", "liveness": "probe"}


class RecentEvents:
    """The last 100 entries of ``events``: what the facts mean to somebody who watches for failures."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=limit)

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        """Add the entry of a fact, if it has one."""
        match fact:
            case Transition():
                found = _step_of(fact)
                if found is not None:
                    self.note(found[0], fact.component, found[1], found[2], fact.at)
            case MissionSettled():
                self.note(
                    "boot", None, "complete" if fact.outcome == "complete" else "fail", fact.reason, fact.at
                )
            case MissionStopped():
                self.note("stop", None, "complete", None, fact.at)

    def note(self, step: str, component: str | None, status: str, error: str | None, at: float) -> None:
        """Add an entry for something that is no fact of the engine (``handshake``, ``environment``)."""
        self._entries.append(
            {
                "step": step,
                "component": component,
                "status": status,
                "error": None if error is None else one_line(error),
                "timestamp": at,
            }
        )

    def entries(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return list(self._entries)


def _step_of(fact: Transition) -> tuple[str, str, str | None] | None:
    """(step, status, error) of a transition; None for one that tells a watcher nothing."""
    match fact.after:
        case "igniting":
            if fact.cause == "spawned":
                return None
            return ("restart" if fact.cause == "restart" else "launch"), "start", None
        case "running":
            return ("probe", "ok", None) if fact.cause == "healthy" else None
        case "unhealthy":
            return "probe", "fail", f"Health check failed: {fact.error}"
        case "completed":
            return "exit", "ok", None
        case "stopping":
            return None if fact.before == "stopping" else ("stop", "start", None)
        case "stopped":
            return "stop", "ok", None
        case "skipped" | "held" | "blocked":
            return "launch", {"skipped": "skip", "held": "hold", "blocked": "skip"}[fact.after], fact.error
        case "backoff" | "repairing" | "quarantined" | "failed":
            return _failure(fact)
        case _:
            return None


def _failure(fact: Transition) -> tuple[str, str, str | None] | None:
    if fact.cause not in _FAILED_AT:
        return "quarantine", "fail", fact.error
    if fact.before == "unhealthy" and fact.after == "backoff":
        return None
    step = "launch" if fact.before == "igniting" else _FAILED_AT[fact.cause]
    if fact.cause == "deadline":
        return step, "fail", f"Health check failed: {fact.error}"
    return step, "fail", fact.error
