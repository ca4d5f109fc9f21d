"""Endpoints that are not asked for a while, or not before an operator has looked after them."""

from __future__ import annotations

from msgspec import Struct

from agents.razar.errors import AgentError
from agents.razar.escalation.ladder import Block
from razar.utils.redaction import redact

__all__ = ["Breakers"]

#: Failures in a row that open a breaker, and for how long at first and at most, in seconds.
FAILURES = 3
COOL_DOWN = 60.0
LONGEST = 600.0


class _Endpoint(Struct):
    failures: int = 0
    opened: int = 0
    until: float = 0.0
    not_before: float = 0.0
    since: float = 0.0
    for_good: bool = False
    reason: str = ""


class Breakers:
    """One breaker for each endpoint. Instants are seconds of a clock that the caller reads."""

    def __init__(self, failures: int = FAILURES, cool_down: float = COOL_DOWN) -> None:
        self._failures = failures
        self._cool_down = cool_down
        self._endpoints: dict[str, _Endpoint] = {}

    def block(self, endpoint: str, now: float) -> Block | None:
        """Why an endpoint must not be asked; None if it may be."""
        state = self._endpoints.get(endpoint)
        if state is None:
            return None
        if state.for_good:
            return Block(f"{state.reason}; it is asked again after `razar repairs resume` or a restart")
        if now < state.until:
            return Block(f"{state.failures} failures in a row, the last: {state.reason}", state.until - now)
        return None

    def not_before(self, endpoint: str, now: float) -> float:
        """Seconds that the service itself asked everybody to wait."""
        state = self._endpoints.get(endpoint)
        return 0.0 if state is None else max(0.0, state.not_before - now)

    def succeeded(self, endpoint: str) -> None:
        """An answer came, whatever it was worth."""
        self._endpoints.pop(endpoint, None)

    def failed(self, endpoint: str, error: AgentError, now: float) -> None:
        """A call failed."""
        state = self._endpoints.setdefault(endpoint, _Endpoint())
        state.failures += 1
        state.reason = redact(str(error))
        state.since = now
        if error.retry_after is not None:
            state.not_before = max(state.not_before, now + min(error.retry_after, LONGEST))
        if error.next_step in ("open_breaker", "operator"):
            state.for_good = True
        elif error.next_step == "back_off" and state.failures >= self._failures:
            # One failure after the cool-down opens it again, for longer.
            state.until = now + min(self._cool_down * 2**state.opened, LONGEST)
            state.opened += 1

    def resume(self, before: float) -> None:
        """An operator has looked after it: close what was opened before an instant."""
        for endpoint, state in list(self._endpoints.items()):
            if state.since <= before:
                del self._endpoints[endpoint]
