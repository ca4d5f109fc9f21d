"""What all repairs of a mission have in common: configuration, limits, records, and ways to the outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from agents.razar.attempts import Say
from agents.razar.escalation.breaker import Breakers
from agents.razar.escalation.budgets import Budget
from agents.razar.records.remembered import Remembered
from agents.razar.records.trail import Trail
from razar.config.model import MissionConfig

if TYPE_CHECKING:
    from agents.razar.agent import RepairAgent

__all__ = ["Settings"]


class Settings(Struct, frozen=True, kw_only=True):
    """See :class:`agents.razar.handover.Handovers` for what its caller decides.

    ``attempts`` limits those of all agents together, ``threshold`` is how many the first one gets.
    ``check`` raises Exhausted while repairs are paused. ``clock`` gives epoch seconds, ``chance`` a number
    in [0, 1).
    """

    config: MissionConfig
    logs: str
    environ: Mapping[str, str]
    attempts: int | None
    threshold: int
    long_task: bool
    interpreter: Callable[[str], str | None]
    memory: Remembered
    say: Say
    agents: Sequence[RepairAgent] | None
    environments: str
    probe: bool
    builds: bool
    first: str | None
    budget: Budget
    breakers: Breakers
    trail: Trail
    clock: Callable[[], float]
    chance: Callable[[], float]
    check: Callable[[], None]
