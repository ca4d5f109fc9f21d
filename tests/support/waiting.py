"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["until", "until_sync"]

STEP = 0.002


async def until(predicate: Callable[[], Any | Awaitable[Any]], timeout: float = 30) -> Any:
    """Wait until ``predicate()`` (a function or a coroutine function) is true; return what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {inspect.getsource(predicate).strip()}")
        await asyncio.sleep(STEP)


def until_sync(predicate: Callable[[], Any], timeout: float = 30) -> Any:
    """Wait until ``predicate()`` is true, blocking; return what it returned."""
    deadline = time.monotonic() + timeout
    while not (result := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {inspect.getsource(predicate).strip()}")
        time.sleep(STEP)
    return result
