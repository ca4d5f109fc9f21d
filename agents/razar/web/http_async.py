"""The exchange for a running event loop: it ends as soon as whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from agents.razar.web.endpoint import Target
from agents.razar.web.http_post import Answer, Handle, Limits, exchange

__all__ = ["in_thread", "post"]

_Result = TypeVar("_Result")
#: Seconds for which a cancelled call waits for its thread, which has been told to end.
_LEAVE = 2.0


async def post(
    target: Target,
    *,
    headers: Mapping[str, str],
    body: bytes,
    limits: Limits,
    sent: Callable[[], None] = lambda: None,
) -> Answer:
    """POST; see :func:`agents.razar.web.http_post.exchange`. Cancelling it closes the connection."""
    handle = Handle()

    def work() -> Answer:
        return exchange("POST", target, headers=headers, body=body, limits=limits, handle=handle, sent=sent)

    return await in_thread(work, handle.cancel)


async def in_thread(work: Callable[[], _Result], cancel: Callable[[], None]) -> _Result:
    """Run ``work`` in a thread of its own; ``cancel`` is called to make it end soon.

    Not in the loop's executor: its threads are joined when the process ends, and a thread that hangs
    where nothing can wake it (in the resolver) must not delay that.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as fault:
            error = fault
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.

    thread = threading.Thread(target=run, name="razar-agent", daemon=True)
    thread.start()
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        cancel()
        await asyncio.wait([future], timeout=_LEAVE)
        if future.done():
            future.exception()  # Taken, so that nobody complains that it was not.
        raise
    return future.result()
