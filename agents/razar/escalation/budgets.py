"""What repairs may use up in one boot, counted here and not by those who are paid for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Budget", "Limits", "Receipt", "limits_of", "tokens_in"]

#: Characters that make a token at least, in text and code: an estimate on the high side.
_CHARACTERS = 3


class Limits(Struct, frozen=True, kw_only=True):
    """The most of everything in one boot of a mission.

    60 requests are the whole ladder for five components; two million tokens a request of 33,000
    each; an hour of waiting a minute each; two repairs at once keep the tests of one from
    starving the components.
    """

    requests: int = 60
    tokens: int = 2_000_000
    seconds: float = 3600.0
    concurrent: int = 2


class Receipt(Struct):
    """What one call was given in advance."""

    tokens: int
    open: bool = True


class Budget:
    """Counts requests, tokens and seconds before and after each call."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.tokens = 0
        self.seconds = 0.0

    def spent(self, tokens: int = 0) -> str | None:
        """Say which limit forbids another call that sends so many tokens; None if none does."""
        limits = self.limits
        if self.requests >= limits.requests:
            return f"the budget of {limits.requests} requests is used up"
        if self.tokens + tokens > limits.tokens:
            return f"{self.tokens} of {limits.tokens} tokens are used up, and the next request needs {tokens}"
        if self.seconds >= limits.seconds:
            return f"the budget of {limits.seconds:g} s of waiting for agents is used up"
        return None

    def seconds_left(self) -> float:
        """How long the next call may take at most."""
        return max(0.0, self.limits.seconds - self.seconds)

    def begin(self, tokens: int) -> Receipt:
        """Count a call before it is made, so that one that never returns is counted too."""
        self.requests += 1
        self.tokens += tokens
        return Receipt(tokens)

    def end(self, receipt: Receipt, seconds: float, *, requests: int = 1, tokens: int | None = None) -> None:
        """Correct the count by what is known afterwards. A call never counts less than it sent."""
        if not receipt.open:
            return
        receipt.open = False
        self.requests += max(0, requests - 1)
        self.tokens += max(0, (tokens or 0) - receipt.tokens)
        self.seconds += max(0.0, seconds)

    def void(self, receipt: Receipt) -> None:
        """Nothing left the machine after all."""
        if receipt.open:
            receipt.open = False
            self.requests -= 1
            self.tokens -= receipt.tokens

    def report(self) -> dict[str, Any]:
        """What was used and what the limits are, for people."""
        return {
            "used": {"requests": self.requests, "tokens": self.tokens, "seconds": round(self.seconds, 3)},
            "limits": msgspec.to_builtins(self.limits),
        }


def limits_of(settings: Mapping[str, float]) -> Limits:
    """The limits of a mission: its ``repair.budget`` over the defaults."""
    defaults = Limits()
    return Limits(
        requests=int(settings.get("requests", defaults.requests)),
        tokens=int(settings.get("tokens", defaults.tokens)),
        seconds=float(settings.get("seconds", defaults.seconds)),
        concurrent=max(1, int(settings.get("concurrent", defaults.concurrent))),
    )


def tokens_in(*texts: str) -> int:
    """About how many tokens texts are, rather too many than too few."""
    return sum(map(len, texts)) // _CHARACTERS + 1
