"""The Rust half in the boot: initialise the memory bundle, ask the expression core for a value."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from razar.engine import events
from razar.engine.events import Event
from razar.projections.wording import Level
from razar.tracing import Span

if TYPE_CHECKING:
    from agents.razar.records.remembered import Memory

__all__ = ["initialise", "open_memory"]

#: An expression whose value only a working core gets right.
PROBE = "[1, 2, 3].map(x, x * x).filter(x, x > 1) == [4, 9] && 'razar'.startsWith('ra')"


async def initialise(
    logs: str,
    *,
    report: Callable[[Event], None],
    say: Callable[[Level, str], None],
    span: Callable[[str], Span],
) -> None:
    """Report MemoryInitialised and CoreEvaluated. What fails is told and recorded, never raised."""
    loop = asyncio.get_running_loop()
    tracing = span("razar.memory")
    memory = await loop.run_in_executor(None, _initialise_memory, logs)
    tracing.end()
    report(memory)
    for layer, status in memory.layers.items():
        if status != "ready":
            say("WARN", f"Memory layer {layer}: {status}")
    tracing = span("razar.core_evaluation")
    core = await loop.run_in_executor(None, _evaluate)
    tracing.set("razar.outcome", core.result)
    tracing.end()
    report(core)
    if core.result != "ready":
        say("WARN", f"Expression core: {core.result}")


def open_memory(logs: str) -> Memory | None:
    """The mission's memory; None where it cannot be had, which initialising it has told."""
    try:
        from memory.bundle import MemoryBundle
    except ImportError:
        return None
    return MemoryBundle(os.path.join(logs, "razar_memory.db"))


def _initialise_memory(logs: str) -> events.MemoryInitialised:
    began = time.perf_counter()
    try:
        from memory.bundle import MemoryBundle

        with MemoryBundle(os.path.join(logs, "razar_memory.db")) as bundle:
            layers = bundle.initialize()
    except Exception as error:  # Whatever is wrong with memory, the mission goes on without it.
        layers = {"bundle": f"error: {type(error).__name__}: {error}"}
    return events.MemoryInitialised(layers, time.perf_counter() - began)


def _evaluate() -> events.CoreEvaluated:
    began = time.perf_counter()
    try:
        from neoabzu_core import evaluate_py

        value = evaluate_py(PROBE)
        result = "ready" if value is True else f"error: evaluated a true expression to {value!r}"
    except Exception as error:  # Not built, or not working: either way an outcome.
        result = f"error: {type(error).__name__}: {error}"
    return events.CoreEvaluated(result, time.perf_counter() - began)
