"""The attempts to repair a component as the log of invocations tells them, across processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from razar.utils.logging import FILE_NAME, load_invocations, log_invocation

__all__ = ["NAMES", "Series", "Trail"]

#: Agents as they call themselves; the log has the names of the ladder beside it.
NAMES = {"airstar": "AirStar", "kimi2": "Kimi2", "rstar": "RStar"}
#: What ends a series besides a repair that held: it became the operator's turn.
EXHAUSTED = "exhausted"
#: What takes back the last attempt's success: the component did not stay healthy.
REVERTED = "reverted"


class Series(Struct, frozen=True):
    """The attempts since the last repair that held, oldest first, and who was escalated to last."""

    attempts: tuple[dict[str, Any], ...] = ()
    escalated: str | None = None

    @property
    def next_number(self) -> int:
        """The number of the next attempt."""
        last = self.attempts[-1].get("attempt") if self.attempts else 0
        return (last if isinstance(last, int) else len(self.attempts)) + 1

    @property
    def agents(self) -> tuple[str, ...]:
        """The agent of each attempt; an empty text where none is named."""
        return tuple(str(record.get("agent") or "") for record in self.attempts)


class Trail:
    """Reads and writes the log of one folder."""

    def __init__(self, logs: str) -> None:
        self.path = os.path.join(logs, FILE_NAME)

    def series(self, component: str, *, closed: bool = False) -> Series:
        """The attempts of the series that is open; with ``closed`` of the last one, open or not."""
        records = load_invocations(component, log_path=self.path)
        return _series(records, closed=closed)

    def attempt(
        self,
        component: str,
        number: int,
        error: str,
        *,
        agent: str,
        patched: bool,
        reason: str,
        patch_id: str | None,
        seconds: float,
        tokens: int | None,
    ) -> None:
        """Record what became of an attempt."""
        log_invocation(
            component,
            number,
            error,
            patched,
            agent=agent,
            agent_original=NAMES.get(agent),
            event="attempt",
            retries=number - 1,
            reason=reason,
            patch_id=patch_id,
            seconds=round(seconds, 3),
            tokens=tokens,
            log_path=self.path,
        )

    def escalation(self, component: str, number: int, error: str, agent: str, reason: str) -> None:
        """Record that attempt ``number`` goes to another agent than the ones before."""
        log_invocation(
            component,
            number,
            error,
            False,
            agent=agent,
            agent_original=NAMES.get(agent),
            event="escalation",
            reason=reason,
            log_path=self.path,
        )

    def reverted(
        self, component: str, number: int, error: str, agent: str, reason: str, patch_id: str | None
    ) -> None:
        """Record that a repair which had held was undone; the series goes on."""
        log_invocation(
            component,
            number,
            error,
            False,
            agent=agent,
            agent_original=NAMES.get(agent),
            event=REVERTED,
            reason=reason,
            patch_id=patch_id,
            log_path=self.path,
        )

    def end(self, component: str, number: int, error: str, reason: str) -> None:
        """Record that it is the operator's turn; the next failure begins a new series."""
        log_invocation(component, number, error, False, event=EXHAUSTED, reason=reason, log_path=self.path)


def _series(records: Sequence[dict[str, Any]], *, closed: bool) -> Series:
    attempts: list[dict[str, Any]] = []
    escalated: str | None = None
    ended = False
    for record in records:
        event = record.get("event", "attempt")
        if ended and event in ("attempt", "escalation"):
            attempts, escalated, ended = [], None, False
        if event == "attempt":
            attempts.append(record)
            ended = record.get("patched") is True
        elif event == "escalation":
            escalated = str(record.get("agent") or "")
        elif event in (EXHAUSTED, REVERTED):
            ended = event == EXHAUSTED
    return Series() if ended and not closed else Series(tuple(attempts), escalated)
