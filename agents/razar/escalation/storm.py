"""Notices that many components fail at once: then something common is broken, and no patch mends it."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Storm", "StormLimits"]


class StormLimits(Struct, frozen=True, kw_only=True):
    """``components`` and more than ``share`` of all within ``window`` seconds; then ``cool_down`` seconds."""

    components: int = 5
    share: float = 0.5
    window: float = 30.0
    cool_down: float = 120.0


class Storm:
    """The brake. Instants are seconds of a clock that the caller reads."""

    def __init__(self, total: int, limits: StormLimits | None = None) -> None:
        self._total = total
        self._limits = limits or StormLimits()
        self._failed: dict[str, float] = {}
        #: The last failure of each component, which is told of once for every attempt to repair it.
        self._noted: dict[str, float] = {}
        self._until = 0.0
        self._reason = ""

    def note(self, component: str, at: float) -> bool:
        """A component failed; tells whether that began a storm."""
        limits = self._limits
        if at <= self._noted.get(component, float("-inf")):
            return False
        self._noted[component] = self._failed[component] = at
        self._failed = {id: when for id, when in self._failed.items() if at - when <= limits.window}
        count = len(self._failed)
        if count < limits.components or count <= limits.share * self._total or at < self._until:
            return False
        self._until = at + limits.cool_down
        self._reason = (
            f"{count} of {self._total} components failed within {limits.window:g} s "
            f"({', '.join(sorted(self._failed)[:10])}): something common to them is broken, so no agent is asked "
            f"for {limits.cool_down:g} s"
        )
        self._failed.clear()
        return True

    def over_in(self, now: float) -> tuple[float, str]:
        """Seconds until agents are asked again, 0 if they are; and why not."""
        left = max(0.0, self._until - now)
        return left, self._reason if left else ""
