"""A server that says exactly the bytes it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.components import listening_port

__all__ = ["Peer", "serve"]


class Peer:
    """What the server received: one entry per connection."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []


@asynccontextmanager
async def serve(
    *pieces: bytes, linger: bool = False, host: str = "127.0.0.1", pause: float = 0.0, **options: Any
) -> AsyncIterator[Peer]:
    """Answer every request with ``pieces``, ``pause`` seconds apart, then close unless ``linger``."""
    peer = Peer()
    released = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer.requests.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if linger:
                await released.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, 0, **options)
    peer.port = listening_port(server)
    try:
        yield peer
    finally:
        released.set()
        server.close()
        await server.wait_closed()
