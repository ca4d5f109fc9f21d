"""Faults of RAZAR itself that would otherwise reach the terminal alone: one line each, however often they come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

from razar.projections.wording import Level

__all__ = ["LoopFaults", "describe"]

#: Places in the code that are named, from the innermost on.
FRAMES = 3
#: Kinds of faults that are told apart; what comes beyond them counts as one kind.
KINDS = 100


def describe(error: BaseException) -> str:
    """What was raised and where, in one line; reads no source, which may need descriptors that are not there."""
    places: list[str] = []
    step: TracebackType | None = error.__traceback__
    while step is not None:
        folder, name = os.path.split(step.tb_frame.f_code.co_filename)
        places.append(f"{os.path.basename(folder)}/{name}:{step.tb_lineno}")
        step = step.tb_next
    where = f" ({' < '.join(reversed(places[-FRAMES:]))})" if places else ""
    return f"{type(error).__name__}: {error}{where}"


class LoopFaults:
    """The loop's handler of exceptions that nobody catches.

    A fault is told the first time, and when it has come 10, 100, 1000 … times: the loop that takes
    connections raises thousands a second while no descriptor is left.
    """

    def __init__(self, say: Callable[[Level, str], None]) -> None:
        self._say = say
        self._counts: dict[str, int] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell it; the loop goes on."""
        error = context.get("exception")
        text = "" if error is None else f": {describe(error)}"
        # The message names the callback with its arguments, which differ each time.
        kind = text or str(context.get("message"))
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = ""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if str(count).strip("0") == "1":
            again = f" ({count} times by now)" if count > 1 else ""
            self._say("ERROR", f"a fault in RAZAR: {context.get('message')}{text}{again}")
