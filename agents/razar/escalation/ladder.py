"""Who is asked next: a pure function of what was tried and of what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

__all__ = ["LOCAL", "MEMORY", "THRESHOLD", "Block", "End", "Step", "Wait", "choose", "threshold_of"]

#: Attempts of the first agent before the next one is asked, unless RAZAR_RSTAR_THRESHOLD says otherwise.
THRESHOLD = 9
VARIABLE = "RAZAR_RSTAR_THRESHOLD"
#: Names that stand in records and are no agents: their attempts do not count towards the threshold.
MEMORY = "memory"
LOCAL = "local"


class Block(Struct, frozen=True):
    """Why an agent cannot be asked; ``seconds`` until it can, None if only an operator can change it."""

    reason: str
    seconds: float | None = None


class Step(Struct, frozen=True):
    """Ask this agent. ``skipped`` are the ones before it that could not be asked, with the reasons."""

    agent: str
    skipped: tuple[tuple[str, str], ...] = ()


class Wait(Struct, frozen=True):
    """Nobody can be asked now; in so many seconds somebody can."""

    seconds: float
    reason: str


class End(Struct, frozen=True):
    """Nobody is left to be asked."""

    reason: str


def choose(
    rungs: Sequence[str],
    tried: Sequence[str],
    *,
    threshold: int = THRESHOLD,
    attempts: int | None = None,
    blocked: Mapping[str, Block] | None = None,
    endless: bool = False,
) -> Step | Wait | End:
    """Decide who is asked.

    ``rungs`` are the agents in order; ``tried`` names the agent of each attempt since the last repair
    that held, oldest first. The first agent is asked ``threshold`` times, each later one once;
    a threshold of 0 means that the first is the only one. ``attempts`` limits the attempts of all
    agents together. One that is passed over is not returned to, unless ``endless`` begins anew.
    """
    blocked = blocked or {}
    rungs = list(rungs) if threshold else list(rungs[:1])
    tried = [name for name in tried if name not in (MEMORY, LOCAL)]
    if not rungs:
        return End("no repair agent is configured")
    most = (threshold or THRESHOLD) + len(rungs) - 1
    if attempts is not None:
        # Without escalation the first agent gets them all.
        most = min(most, attempts) if threshold else attempts
    if not endless and len(tried) >= most:
        return End(
            f"{len(tried)} of {most} attempts were made and none helped" if most else "no attempt is allowed"
        )
    capacity = [threshold or max(most, THRESHOLD)] + [1] * (len(rungs) - 1)
    reached, used = _position(rungs, tried)
    start = reached if used < capacity[reached] else reached + 1
    candidates = rungs[start:]
    if endless:
        candidates += [rung for rung in rungs if rung not in candidates]
    skipped: list[tuple[str, str]] = []
    seconds: list[float] = []
    for rung in candidates:
        block = blocked.get(rung)
        if block is None:
            return Step(rung, tuple(skipped))
        skipped.append((rung, block.reason))
        if block.seconds is not None:
            seconds.append(block.seconds)
    if not skipped:
        return End(f"every agent was asked ({', '.join(rungs)}) and none helped")
    name, reason = skipped[0]  # The first error is the one that explains the others.
    if seconds:
        return Wait(min(seconds), f"{name}: {reason}")
    return End(f"no agent is left that can be asked; {name}: {reason}")


def _position(rungs: Sequence[str], tried: Sequence[str]) -> tuple[int, int]:
    """How far up the ladder the attempts led, and how many were made there."""
    place = {rung: number for number, rung in enumerate(rungs)}
    reached = used = 0
    for name in tried:
        # One that is on the ladder no longer counts as an attempt of its time.
        number = place.get(name, reached)
        used = used + 1 if number == reached else 1
        reached = number
    return reached, used


def threshold_of(environ: Mapping[str, str]) -> tuple[int, str | None]:
    """The threshold, and what is wrong with the variable if it is no number."""
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return THRESHOLD, None
    if text.isascii() and text.isdigit() and len(text) < 6:
        return int(text), None
    return THRESHOLD, f"{VARIABLE} is no whole number from 0 to 99999; {THRESHOLD} is used"
