"""One question over a websocket: connect, send one frame, take one frame, whatever the other side does.

Imports websockets, so it is itself imported only when there is somebody to ask.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct
from websockets.client import ClientProtocol
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    NegotiationError,
    WebSocketException,
)
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from razar.crown.protocol import MAX_FRAME, SUBPROTOCOL
from razar.crown.result import clean
from razar.crown.wire import Wire

__all__ = ["NoAnswerError", "Target", "ask", "parse_url", "quiet_logger"]

#: Limits on the parts of a conversation, in seconds, within the limit on the whole.
CONNECT_LIMIT = 5.0
SEND_LIMIT = 5.0

#: Close codes by which a server says that it cannot talk now (RFC 6455, 7.4.1, and IANA's registry).
_NOT_NOW = frozenset({1001, 1006, 1011, 1012, 1013, 1014})
#: Close codes we send when what came breaks the protocol: bad frame, not UTF-8, too big.
_BROKEN = {
    1002: "Crown broke the websocket protocol",
    1007: "Crown's answer is not UTF-8 text",
    1009: f"Crown's answer is larger than {MAX_FRAME:,} bytes or in too many fragments",
}
_LOOPBACK = {socket.AF_INET: b"\x7f", socket.AF_INET6: socket.inet_pton(socket.AF_INET6, "::1")}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class NoAnswerError(Exception):
    """There is no answer to judge. ``status`` tells a refusal from an unreachable Crown."""

    def __init__(self, reason: str, status: Literal["refused", "unreachable"] = "unreachable") -> None:
        super().__init__(clean(reason, 500))
        self.status = status


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
    wire: Wire[ClientProtocol] | None = None
    phase = "connecting"
    try:
        async with asyncio.timeout(timeout):
            async with asyncio.timeout(CONNECT_LIMIT):
                wire = await _connect(target)
                _greet(wire, _headers(target, token, traceparent))
                await wire.opened
            phase = "sending the mission brief"
            async with asyncio.timeout(SEND_LIMIT):
                await wire.send(question)
            sent()
            phase = "waiting for the answer"
            answer = await wire.message
            phase = "closing"
    except TimeoutError:
        limit = {"connecting": min(CONNECT_LIMIT, timeout), "sending the mission brief": SEND_LIMIT}
        seconds = min(limit.get(phase, timeout), timeout)
        raise NoAnswerError(f"Crown took too long: gave up while {phase}, after {seconds:g} s") from None
    except ConnectionClosed as error:
        raise _closed(error, phase) from None
    except (OSError, ValueError, WebSocketException) as error:
        raise _failed(error, target) from None
    finally:
        if wire is not None:
            await wire.close(politely=phase == "closing")
    return answer


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


def _closed(error: ConnectionClosed, phase: str) -> NoAnswerError:
    """Explain a connection that ended without an answer."""
    if error.sent is not None and not error.rcvd_then_sent and error.sent.code in _BROKEN:
        return NoAnswerError(_BROKEN[error.sent.code], "refused")
    if error.rcvd is None:
        return NoAnswerError(f"the connection to Crown broke while {phase}")
    said = clean(error.rcvd.reason, 200)
    code = error.rcvd.code
    reason = f"Crown closed the connection without an answer (code {code}" + (f": {said})" if said else ")")
    return NoAnswerError(reason, "unreachable" if code in _NOT_NOW else "refused")


def _failed(error: Exception, target: Target) -> NoAnswerError:
    """Explain why no connection came about."""
    place = target.shown
    if isinstance(error, InvalidStatus):
        return _http_status(error.response.status_code, place)
    if isinstance(error, NegotiationError):
        return NoAnswerError(f"{place} does not speak {SUBPROTOCOL}")
    if isinstance(error, InvalidHandshake):
        return NoAnswerError(f"what answers at {place} is not a websocket server")
    if isinstance(error, WebSocketException):
        return NoAnswerError(f"{place} does not keep to the websocket protocol ({type(error).__name__})")
    return NoAnswerError(f"{place} cannot be reached: {_network(error)}")


def _http_status(status: int, place: str) -> NoAnswerError:
    if status in {401, 403}:
        hint = "check CROWN_TOKEN"
        return NoAnswerError(f"Crown at {place} answered HTTP {status}: {hint}", "refused")
    if 300 <= status < 400:
        return NoAnswerError(
            f"{place} answered HTTP {status}, a redirect: none is followed, configure its target"
        )
    return NoAnswerError(f"{place} answered HTTP {status} instead of opening a websocket")


def _network(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({(error.reason or 'unknown reason').replace('_', ' ').lower()})"
    numbers = {int(n) for n in re.findall(r"\[Errno (-?\d+)\]", str(error))}
    if numbers == {errno.ECONNREFUSED}:
        return "nothing listens there"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "the name of its host cannot be resolved"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
