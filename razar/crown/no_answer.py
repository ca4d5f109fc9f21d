"""Why Crown gave no answer, in words for people."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Literal

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    NegotiationError,
    WebSocketException,
)

from razar.crown.protocol import MAX_FRAME, SUBPROTOCOL
from razar.crown.result import clean

__all__ = ["NoAnswerError", "closed", "failed"]

#: Close codes by which a server says that it cannot talk now (RFC 6455, 7.4.1, and IANA's registry).
_NOT_NOW = frozenset({1001, 1006, 1011, 1012, 1013, 1014})
#: Close codes we send when what came breaks the protocol: bad frame, not UTF-8, too big.
_BROKEN = {
    1002: "Crown broke the websocket protocol",
    1007: "Crown's answer is not UTF-8 text",
    1009: f"Crown's answer is larger than {MAX_FRAME:,} bytes or in too many fragments",
}


class NoAnswerError(Exception):
    """There is no answer to judge. ``status`` tells a refusal from an unreachable Crown.

    ``http_status`` is set if HTTP was what answered.
    """

    def __init__(
        self,
        reason: str,
        status: Literal["refused", "unreachable"] = "unreachable",
        http_status: int | None = None,
    ) -> None:
        super().__init__(clean(reason, 500))
        self.status = status
        self.http_status = http_status


def closed(error: ConnectionClosed, phase: str) -> NoAnswerError:
    """Explain a connection that ended without an answer."""
    if error.sent is not None and not error.rcvd_then_sent and error.sent.code in _BROKEN:
        return NoAnswerError(_BROKEN[error.sent.code], "refused")
    if error.rcvd is None:
        return NoAnswerError(f"the connection to Crown broke while {phase}")
    said = clean(error.rcvd.reason, 200)
    code = error.rcvd.code
    reason = f"Crown closed the connection without an answer (code {code}" + (f": {said})" if said else ")")
    return NoAnswerError(reason, "unreachable" if code in _NOT_NOW else "refused")


def failed(error: Exception, place: str) -> NoAnswerError:
    """Explain why no connection to ``place`` came about."""
    if isinstance(error, InvalidStatus):
        return _http_status(error.response.status_code, place)
    if isinstance(error, NegotiationError):
        return NoAnswerError(f"{place} does not speak {SUBPROTOCOL}", http_status=101)
    if isinstance(error, InvalidHandshake):
        return NoAnswerError(f"what answers at {place} is not a websocket server")
    if isinstance(error, WebSocketException):
        return NoAnswerError(f"{place} does not keep to the websocket protocol ({type(error).__name__})")
    return NoAnswerError(f"{place} cannot be reached: {_network(error)}")


def _http_status(status: int, place: str) -> NoAnswerError:
    if status in {401, 403}:
        hint = "check CROWN_TOKEN"
        return NoAnswerError(f"Crown at {place} answered HTTP {status}: {hint}", "refused", status)
    if 300 <= status < 400:
        return NoAnswerError(
            f"{place} answered HTTP {status}, a redirect: none is followed, configure its target",
            http_status=status,
        )
    return NoAnswerError(
        f"{place} answered HTTP {status} instead of opening a websocket: check its path", http_status=status
    )


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
