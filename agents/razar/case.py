"""One failure that is being repaired, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from agents.razar.attempts import Attempt, Failure
from agents.razar.records.trail import Series
from razar.config.model import Component
from razar.issues.classes import Issue
from razar.tracing import PATCH, Span

__all__ = ["Case"]


class Case(Struct, frozen=True, kw_only=True):
    """One failure, and what is known of it."""

    component: Component
    failure: Failure
    issue: Issue
    series: Series
    number: int
    fingerprint: str | None
    context: dict[str, Any]
    span: Span
    start: Callable[..., Span]

    @contextmanager
    def patching(self, agent: str) -> Iterator[Span]:
        """The span of a patch on its way through the checks."""
        span = self.start(PATCH, self.span, component=self.component.id, agent=agent)
        try:
            yield span
        finally:
            span.end()

    def attempt(self, **values: Any) -> Attempt:
        """An attempt about this failure."""
        return Attempt(
            component=self.component.id,
            number=self.number,
            error=self.failure.error,
            fingerprint=self.fingerprint,
            **values,
        )
