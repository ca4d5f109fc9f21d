"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable

from agents.razar.errors import AgentError

__all__ = ["FIRST", "LONGEST", "pause_after"]

#: Seconds before the second attempt, and the most that are waited unless a service asks for more.
FIRST = 1.0
LONGEST = 60.0
#: No service makes us wait longer than this.
LONGEST_ASKED = 600.0
_JITTER = 0.1


def pause_after(failures: int, error: AgentError | None, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row: doubling, with jitter, bounded.

    ``random`` draws from 0 to 1. What a service asked to wait is respected within bounds.
    """
    base = min(FIRST * 2.0 ** min(max(failures - 1, 0), 16), LONGEST)
    wait = min(base * (1 + _JITTER * (2 * random() - 1)), LONGEST)
    if error is not None and error.retry_after is not None:
        wait = max(wait, min(error.retry_after, LONGEST_ASKED))
    return wait
