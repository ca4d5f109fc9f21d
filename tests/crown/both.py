"""The two Crowns there are, the embedded one and the gateway, run the same way for the same tests."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from razar.crown_embedded import embedded_crown

__all__ = ["CROWNS", "Crown"]

#: Runs a Crown for as long as the context is entered; yields the URL of its websocket.
Crown = Callable[..., AbstractAsyncContextManager[str]]


@asynccontextmanager
async def embedded(
    *,
    capabilities: Sequence[str] = (),
    downtime: Mapping[str, Any] | None = None,
    refuse: str | None = None,
    token: str | None = None,
) -> AsyncIterator[str]:
    async with embedded_crown(
        capabilities=capabilities, downtime=downtime, refuse=refuse, token=token
    ) as crown:
        yield crown.url


@asynccontextmanager
async def gateway(
    *,
    capabilities: Sequence[str] = (),
    downtime: Mapping[str, Any] | None = None,
    refuse: str | None = None,
    token: str | None = None,
) -> AsyncIterator[str]:
    crown = pytest.importorskip("neoabzu_crown", reason="the extension is not built")
    said = {"capabilities": list(capabilities), "downtime": dict(downtime or {})}
    said |= {} if refuse is None else {"refuse": refuse}
    server = crown.Gateway(crown.Router({"servants": [], "kimicho": False, "crown": said}), token=token)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url.replace("http://", "ws://") + "/crown"
    finally:
        # The second time at once: whoever hangs must not hold up the end of a test.
        server.stop()
        server.stop()
        thread.join()


CROWNS = [pytest.param(embedded, id="embedded"), pytest.param(gateway, id="gateway")]
