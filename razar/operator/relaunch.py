"""Has a running mission start a component anew, and waits until it is healthy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from razar.control.client import NotRunningError, RefusedError, UnresponsiveError, connect, supervisor

__all__ = ["Relaunch", "is_supervised", "relaunch"]


class Relaunch(Struct, frozen=True, kw_only=True):
    """How it went; ``before`` is the state the component was in, None if nobody could be asked."""

    healthy: bool
    reason: str
    before: str | None = None


def is_supervised(logs: str) -> bool:
    """Whether a supervisor runs with this folder of logs."""
    return supervisor(logs) is not None


def relaunch(logs: str, component: str, *, timeout: float, note: str) -> Relaunch:
    """Start a component anew, out of quarantine too; never raises for what the supervisor says.

    ``timeout`` is in seconds; ``note`` goes into the record of a release.
    """
    before = None
    try:
        with connect(logs) as connection:
            before = _state(connection.request("status", components=[component]))
            if before == "quarantined":
                fields: dict[str, Any] = {"note": note}
                request = "release"
            else:
                fields, request = {}, "restart"
            connection.request(
                request, components=[component], timeout=timeout, on_progress=lambda news: None, **fields
            )
    except (NotRunningError, UnresponsiveError, RefusedError) as fault:
        return Relaunch(healthy=False, reason=str(fault), before=before)
    return Relaunch(healthy=True, reason="it was relaunched and is healthy", before=before)


def _state(answer: Mapping[str, Any]) -> str | None:
    entries = answer.get("snapshot", {}).get("components") or [{}]
    state = entries[0].get("state")
    return state if isinstance(state, str) else None
