"""What earlier attempts to repair a component tell the next one, and the attempt that is told it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.razar.handover import Attempt, Handovers

__all__ = ["build_failure_context", "retry_with_ai"]

_KEYS = ("attempt", "agent", "agent_original", "error", "patched", "event", "status", "reason")
_TIMES = ("timestamp", "timestamp_iso")


def build_failure_context(
    component: str, limit: int = 5, *, log_path: str | os.PathLike[str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The last ``limit`` attempts to repair a component, oldest first: ``{"history": [...]}``.

    Only attempts count; escalations and other events crowd none of them out. Each has ``attempt``,
    ``error``, ``patched``, ``event``, ``status``, ``timestamp`` and ``timestamp_iso``, and what is known of
    ``agent``, ``agent_original`` and ``reason``. ``log_path`` default: the log of this process.
    """
    from razar.utils.logging import load_invocations

    records = load_invocations(component, limit, events={"attempt"}, log_path=log_path)
    return {"history": [_entry(record) for record in records]}


def _entry(record: Mapping[str, Any]) -> dict[str, Any]:
    entry = {"event": "attempt", **record}
    return {key: entry[key] for key in (*_KEYS, *_TIMES) if key in entry}


async def retry_with_ai(
    component: str,
    error: str,
    *,
    handovers: Handovers,
    build: Callable[[str], Mapping[str, Any]],
    tail: Sequence[str] = (),
    at: float | None = None,
    traceparent: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> Attempt:
    """Make one attempt, told of those before it by ``build``. Raises Exhausted if none is worth it.

    ``tail`` are the last lines of the component's log, ``at`` is when it failed. ``context`` adds to what
    the agent is told.
    """
    from agents.razar.attempts import Failure

    failure = Failure(
        component=component,
        error=error,
        tail=tuple(tail),
        at=time.time() if at is None else at,
        traceparent=traceparent,
    )
    return await handovers.attempt(failure, {**(context or {}), **build(component)})
