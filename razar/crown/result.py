"""The outcome of a handshake with Crown, as the rest of RAZAR and the state file see it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from razar.utils.times import parse_utc, utc

__all__ = ["Downtime", "Handshake", "Status", "clean", "parse_until"]

Status = Literal["ack", "refused", "unreachable", "offline"]

#: The last second of the year 9999: later instants cannot be written as text.
_LATEST = 253402300799.0


class Downtime(Struct, frozen=True, kw_only=True):
    """Why a component must not be started, and until when (epoch seconds; None: no end is known)."""

    reason: str
    until: float | None = None
    patch: dict[str, Any] | None = None


class Handshake(Struct, frozen=True, kw_only=True):
    """What became of a handshake.

    ``refused``: Crown answered, and not with a yes. ``unreachable``: no answer was obtained.
    ``offline``: none was asked for. ``reason`` says why in plain words; ``warnings`` tell what was
    ignored. ``url`` is without credentials.
    """

    status: Status
    crown_version: str = ""
    acknowledgement: str = ""
    capabilities: tuple[str, ...] = ()
    downtime: dict[str, Downtime] = {}
    reason: str | None = None
    url: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether Crown has agreed to the mission."""
        return self.status == "ack"

    def to_state(self) -> dict[str, Any]:
        """Return the ``handshake`` object of the state file; ``until`` is UTC text or null."""
        downtime: dict[str, Any] = {}
        for id, entry in self.downtime.items():
            downtime[id] = {
                "reason": entry.reason,
                "until": None if entry.until is None else utc(entry.until),
            }
            if entry.patch is not None:
                downtime[id]["patch"] = entry.patch
        state: dict[str, Any] = {
            "status": self.status,
            "crown_version": self.crown_version,
            "acknowledgement": self.acknowledgement,
            "capabilities": list(self.capabilities),
            "downtime": downtime,
        }
        if self.reason:
            state["reason"] = self.reason
        return state


def parse_until(value: str | float | None) -> float | None:
    """Read an instant: ISO 8601 (UTC where it names no zone) or epoch seconds; raise ValueError."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            instant = parse_utc(value.strip())
        except (ValueError, OverflowError):
            raise ValueError(f'is "{clean(value, 60)}", which is not a time in ISO 8601') from None
    else:
        instant = float(value)
    if not 0 <= instant <= _LATEST:  # false for NaN as well
        raise ValueError("is out of range")
    return instant


def clean(text: str, limit: int) -> str:
    """Make a peer's text fit for a log: printable, on one line, at most ``limit`` characters."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    words = " ".join(printable.split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
