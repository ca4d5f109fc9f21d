"""Work that must not be left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

__all__ = ["to_its_end"]


async def to_its_end(work: Awaitable[object]) -> None:
    """Await something to its end; a cancellation meanwhile is passed on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
