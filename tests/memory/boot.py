"""The part of a boot that asks the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from razar.boot import native_services
from razar.engine import events
from razar.engine.events import Event

__all__ = ["told"]


class Span:
    """A span that goes nowhere."""

    def set(self, name: str, value: object) -> None:
        pass

    def end(self) -> None:
        pass


async def told(logs: Path) -> tuple[dict[str, str], list[str]]:
    """What was reported of the layers, and what was said."""
    reported: list[Event] = []
    said: list[str] = []

    def span(name: str) -> Any:
        return Span()

    await native_services.initialise(
        str(logs), report=reported.append, say=lambda level, text: said.append(f"{level} {text}"), span=span
    )
    [memory] = [event for event in reported if isinstance(event, events.MemoryInitialised)]
    assert memory.seconds > 0
    return memory.layers, [line for line in said if "Memory" in line]
