"""Text forms of instants. Everything is UTC; an instant is a float of epoch seconds."""

from __future__ import annotations

import math
import time
from functools import lru_cache

__all__ = ["file_stamp", "parse_utc", "utc", "utc_micro"]

_UNKNOWN = "0000-00-00T00:00:00Z"


def utc(at: float) -> str:
    """Whole seconds: ``2025-09-21T00:00:00Z``. An instant outside the calendar gives only zeros."""
    return _whole(at // 1)


@lru_cache(64)  # Much happens within one second.
def _whole(second: float) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    except (OverflowError, ValueError, OSError):
        return _UNKNOWN


def utc_micro(at: float) -> str:
    """Microseconds: ``2025-09-21T00:00:00.125000Z``."""
    try:
        # Not a million times all of it: that product is exact to a quarter of a microsecond only.
        seconds, micro = divmod(math.floor(at) * 1_000_000 + round(at % 1 * 1_000_000), 1_000_000)
    except (OverflowError, ValueError):
        return _UNKNOWN
    whole = utc(seconds)
    return whole if whole == _UNKNOWN else f"{whole[:-1]}.{micro:06d}Z"


def file_stamp(at: float) -> str:
    """For file names, without colons: ``2025-09-21T00-00-05Z``."""
    return utc(at).replace(":", "-")


def parse_utc(text: str) -> float:
    """Epoch seconds of an ISO 8601 text; one without an offset is UTC. Raises ValueError."""
    from datetime import UTC, datetime

    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return instant.timestamp()
