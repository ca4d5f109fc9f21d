"""One question over a websocket: connect, send one frame, take one frame, whatever the other side does.

Or none, to see whether Crown would take it.

Imports websockets, so it is itself imported only when there is somebody to ask.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from razar.crown.no_answer import NoAnswerError, closed, failed
from razar.crown.protocol import MAX_FRAME, SUBPROTOCOL
from razar.crown.wire import Wire

__all__ = ["Target", "ask", "parse_url", "quiet_logger", "reach"]

#: Limits on the parts of a conversation, in seconds, within the limit on the whole.
CONNECT_LIMIT = 5.0
SEND_LIMIT = 5.0

_LOOPBACK = {socket.AF_INET: b"\x7f", socket.AF_INET6: socket.inet_pton(socket.AF_INET6, "::1")}
#: What a conversation brings.
Talk = TypeVar("Talk")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Target(Struct, frozen=True, kw_only=True):
    """Where Crown is. ``url`` carries no credentials; ``shown`` has no query either."""

    url: str
    shown: str
    host: str
    port: int
    userinfo: tuple[str, str] | None
    loopback: bool
    secure: bool


def parse_url(url: str) -> Target:
    """Take a Crown URL apart; raise ValueError, whose text never repeats the URL."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError("it cannot be parsed") from None
    if parts.scheme not in {"ws", "wss"}:
        raise ValueError("it does not begin with ws:// or wss://")
    host = parts.hostname
    if not host or not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
        raise ValueError("it names no host")
    if not url.strip().isascii() or not url.strip().isprintable() or " " in url.strip():
        raise ValueError("it holds characters that have to be percent-encoded")
    secure = parts.scheme == "wss"
    port = port or (443 if secure else 80)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    bare = SplitResult(parts.scheme, place, parts.path or "/", parts.query, "")
    return Target(
        url=bare.geturl(),
        shown=bare._replace(query="").geturl(),
        host=host,
        port=port,
        userinfo=_userinfo(parts),
        loopback=_is_loopback(host),
        secure=secure,
    )


def _userinfo(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    for family, first in ((socket.AF_INET, 1), (socket.AF_INET6, 16)):
        try:
            # Of IPv4 the whole of 127.0.0.0/8, of IPv6 one address.
            return socket.inet_pton(family, host)[:first] == _LOOPBACK[family]
        except OSError:
            continue
    return False


async def ask(
    target: Target,
    question: bytes,
    *,
    token: str | None,
    traceparent: str | None,
    timeout: float,
    sent: Callable[[], None],
) -> str | bytes:
    """Send ``question`` as one text frame and return the first frame that comes back.

    ``timeout`` (seconds) is for the whole conversation. ``sent`` is called when the frame has
    been handed over. Raises NoAnswerError, nothing else.
    """

    async def exchange(wire: Wire[ClientProtocol], phase: Callable[[str], None]) -> str | bytes:
        phase("sending the mission brief")
        async with asyncio.timeout(SEND_LIMIT):
            await wire.send(question)
        sent()
        phase("waiting for the answer")
        return await wire.message

    return await _converse(target, _headers(target, token, traceparent), timeout, exchange)


async def reach(target: Target, *, token: str | None, timeout: float) -> None:
    """Open a connection and close it again, within ``timeout`` seconds; raises NoAnswerError."""

    async def say_nothing(wire: Wire[ClientProtocol], phase: Callable[[str], None]) -> None:
        if wire.protocol.subprotocol != SUBPROTOCOL:
            reason = f"{target.shown} did not agree to speak {SUBPROTOCOL}: is this a Crown?"
            raise NoAnswerError(reason, http_status=101)

    await _converse(target, _headers(target, token, None), timeout, say_nothing)


async def _converse(
    target: Target,
    headers: Mapping[str, str],
    timeout: float,
    talk: Callable[[Wire[ClientProtocol], Callable[[str], None]], Awaitable[Talk]],
) -> Talk:
    """Connect, talk, close; ``talk`` tells in which phase it is."""
    wire: Wire[ClientProtocol] | None = None
    phase = "connecting"

    def enter(name: str) -> None:
        nonlocal phase
        phase = name

    try:
        async with asyncio.timeout(timeout):
            async with asyncio.timeout(CONNECT_LIMIT):
                wire = await _connect(target)
                _greet(wire, headers)
                await wire.opened
            result = await talk(wire, enter)
            phase = "closing"
    except TimeoutError:
        limit = {"connecting": min(CONNECT_LIMIT, timeout), "sending the mission brief": SEND_LIMIT}
        seconds = min(limit.get(phase, timeout), timeout)
        raise NoAnswerError(f"Crown took too long: gave up while {phase}, after {seconds:g} s") from None
    except ConnectionClosed as error:
        raise closed(error, phase) from None
    except (OSError, ValueError, WebSocketException) as error:
        raise failed(error, target.shown) from None
    finally:
        if wire is not None:
            await wire.close(politely=phase == "closing")
    return result


def _headers(target: Target, token: str | None, traceparent: str | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    token = token.strip() if token else None
    if token:
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise NoAnswerError("the token for Crown holds a character that an HTTP header cannot carry")
        headers["Authorization"] = f"Bearer {token}"
    elif target.userinfo is not None:
        from base64 import b64encode

        headers["Authorization"] = "Basic " + b64encode(":".join(target.userinfo).encode()).decode()
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
        headers["traceparent"] = traceparent
    return headers


async def _connect(target: Target) -> Wire[ClientProtocol]:
    """Connect to the place that was configured, through no proxy."""
    protocol = ClientProtocol(
        parse_uri(target.url),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=MAX_FRAME,
        logger=quiet_logger(),
    )
    _, wire = await asyncio.get_running_loop().create_connection(
        lambda: Wire(protocol), target.host, target.port, ssl=True if target.secure else None
    )
    return wire


def _greet(wire: Wire[ClientProtocol], headers: Mapping[str, str]) -> None:
    request = wire.protocol.connect()
    request.headers.update(headers)
    wire.protocol.send_request(request)
    wire.flush()


def quiet_logger() -> logging.Logger:
    """Return a logger that says nothing: what happens here is told by the outcome."""
    logger = logging.getLogger("razar.crown")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    return logger
