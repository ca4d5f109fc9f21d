"""A Crown made by hand, byte by byte, and a way to shake hands with it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from razar.config.model import CrownSettings
from razar.crown_handshake import Handshake, perform

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BRIEF: dict[str, Any] = {
    "priority_map": {"crown_router": 1},
    "current_status": {"crown_router": "pending"},
    "open_issues": [{"id": "basic_service", "detail": "exited with 3"}],
    "objective": "come up",
}
COMPONENTS = ("crown_router", "basic_service", "token_service")
YES = {
    "type": "ack",
    "status": "ack",
    "crown_version": "1.4",
    "ack": "mission accepted",
    "capabilities": ["GLM-4.1V"],
    "downtime": {},
}


async def shake(url: str | None, logs: Path, **changes: Any) -> Handshake:
    """Perform one handshake; ``changes`` override arguments of perform and fields of the settings."""
    fields: dict[str, Any] = {"timeout": 5.0}
    fields |= {k: changes.pop(k) for k in ("timeout", "policy") if k in changes}
    arguments: dict[str, Any] = {
        "mission": "demo",
        "boot_id": "boot-1",
        "logs": str(logs),
        "components": COMPONENTS,
        "token": None,
        "environ": {},
    }
    brief = changes.pop("brief", BRIEF)
    settings = CrownSettings(url=url, **fields)
    return await perform(settings, brief, **(arguments | changes))


@asynccontextmanager
async def listening(peer: Peer, **options: Any) -> AsyncIterator[int]:
    """Serve raw TCP on loopback; every connection is cut when the block ends. Yields the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read the head of an HTTP request."""
    return await reader.readuntil(b"\r\n\r\n")


async def upgrade(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, subprotocol: str | None = "razar.crown.v1"
) -> bytes:
    """Open the websocket by hand (RFC 6455, 4.2.2) and return the head of the request."""
    head = await request(reader)
    key = next(x for x in head.split(b"\r\n") if x.lower().startswith(b"sec-websocket-key:")).split(b":")[1]
    accept = base64.b64encode(hashlib.sha1(key.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n")
    if subprotocol is not None:
        writer.write(f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode())
    writer.write(b"\r\n")
    return head


async def brief_of(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Read one masked text frame and return its JSON (RFC 6455, 5.2)."""
    first, second = await reader.readexactly(2)
    assert first == 0x81 and second & 0x80
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2))
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8))
    mask = await reader.readexactly(4)
    data = await reader.readexactly(size)
    frame = json.loads(bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))
    assert isinstance(frame, dict)
    return frame


def frame(payload: bytes | str, opcode: int = 1, *, final: bool = True) -> bytes:
    """Encode one unmasked frame, as servers send them."""
    data = payload.encode() if isinstance(payload, str) else payload
    head = bytes([(0x80 if final else 0) | opcode])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 1 << 16:
        return head + b"\x7e" + len(data).to_bytes(2) + data
    return head + b"\x7f" + len(data).to_bytes(8) + data


def close_frame(code: int, reason: str = "") -> bytes:
    """Encode a close frame."""
    return frame(code.to_bytes(2) + reason.encode(), opcode=8)


def answering(*frames: bytes | str) -> Peer:
    """Make a peer that opens the websocket, reads the brief, sends these bytes and waits for a reaction."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await brief_of(reader)
        for item in frames:
            writer.write(frame(item) if isinstance(item, str) else item)
        await writer.drain()
        await reader.read(1)

    return peer
