"""Clears away what a supervisor that was killed has left running: no second copy is started beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from razar.boot.preparation import PreparationError
from razar.engine.plan import Plan
from razar.engine.recovery import Remains
from razar.launchers import leftovers

__all__ = ["clear"]

#: Processes of one component that are named.
NAMED = 20


async def clear(remains: Remains, plan: Plan, warn: Callable[[str], None]) -> None:
    """Stop it, each component in its own time. Raises PreparationError for what cannot be stopped, or looked for."""
    try:
        await _stop(remains, plan, warn)
    except OSError as error:
        raise PreparationError(
            1, f"what a killed supervisor left cannot be looked for: {error.strerror}"
        ) from None


async def _stop(remains: Remains, plan: Plan, warn: Callable[[str], None]) -> None:
    found = leftovers.find(remains)
    for component, processes in found.items():
        pids = ", ".join(str(process.pid) for process in processes[:NAMED])
        if len(processes) > NAMED:
            pids = f"{pids} and {len(processes) - NAMED} more"
        warn(f"{component} is left over from a supervisor that was killed (pid {pids}): stopping it")
    known = plan.components
    withstood = await asyncio.gather(
        *(
            leftovers.stop(processes, known[id].stop.grace if id in known else leftovers.GRACE)
            for id, processes in found.items()
        )
    )
    for component, remaining in zip(found, withstood, strict=True):
        for process in remaining:
            raise PreparationError(1, f"{component}: pid {process.pid} ({process.comm}) cannot be stopped")
