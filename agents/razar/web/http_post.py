"""One HTTP exchange with an agent or a connector: the only module here that speaks HTTP.

The request is written here and the answer read by http.client, on a socket of our own. A client
library would be imported by every process that may have to repair something, and libraries limit the
time of a phase or of one read, while an endless answer of one byte a second must end at a deadline for
the whole. Another client fits behind ``exchange`` without a change anywhere else.

Redirects are not followed, proxies of the environment are not used, TLS is verified against the
system's authorities (or those of SSL_CERT_FILE), every answer has a largest size.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from agents.razar.errors import BrokenConnectionError, TLSFailedError, UnreachableError
from agents.razar.web.endpoint import Target
from agents.razar.web.http_wire import ANSWER_LIMIT, Clock, Handle, Limits, Wire

if TYPE_CHECKING:
    import ssl

__all__ = ["ANSWER_LIMIT", "Answer", "Handle", "Limits", "exchange"]


class Answer(Struct, frozen=True, kw_only=True):
    """What came back. Names of headers are in lower case; ``seconds`` is how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


def exchange(
    method: str,
    target: Target,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    limits: Limits | None = None,
    handle: Handle | None = None,
    sent: Callable[[], None] = lambda: None,
) -> Answer:
    """Send one request and return the answer, whatever its status; ``handle`` can end it from elsewhere.

    ``sent`` is called once the request is on its way.

    Raises AgentTimeoutError, UnreachableError, TLSFailedError, BrokenConnectionError and
    AnswerTooLargeError; their messages hold neither headers nor body.
    """
    limits = limits or Limits()
    clock = Clock(target.shown, limits.total, handle)
    connection: socket.socket | None = None
    try:
        connection = _connect(target, clock, limits)
        if target.secure:
            connection = _secure(connection, target, clock, limits)
        return _converse(connection, method, target, headers, body, clock, limits, sent)
    except TimeoutError:
        raise clock.passed() from None
    finally:
        clock.handle.release()
        _close(connection)


def _connect(target: Target, clock: Clock, limits: Limits) -> socket.socket:
    clock.enter("looking up the host", limits.resolve)
    addresses = _resolve(target, clock)
    clock.enter("connecting", limits.connect)
    failure = "its host has no address"
    for family, kind, protocol, _, address in addresses:
        connection = None
        try:
            connection = socket.socket(family, kind, protocol)
            clock.handle.watch(connection)
            connection.settimeout(clock.remaining())
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except TimeoutError:
            _close(connection)
            raise clock.passed() from None
        except ConnectionRefusedError:
            failure = "nothing listens there"
        except OSError as fault:
            failure = fault.strerror or "no connection"
        except BaseException:
            _close(connection)
            raise
        _close(connection)
    raise UnreachableError(f"{target.shown} cannot be reached: {failure}")


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()


def _resolve(target: Target, clock: Clock) -> list[Any]:
    import threading

    # As bytes, a name in ASCII does not load the tables of IDNA.
    host = target.host.encode() if target.host.isascii() else target.host
    try:
        # An address needs no look-up, and no thread for it.
        return socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass
    found: list[Any] = []
    fault: list[OSError | UnicodeError] = []
    over, done = threading.Event(), threading.Event()

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            fault.append(error)
        done.set()
        over.set()

    # getaddrinfo has no time limit of its own; a thread that hangs in it is left behind.
    threading.Thread(target=look_up, name="razar-resolve", daemon=True).start()
    clock.handle.wake(over)
    over.wait(clock.remaining())
    if not done.is_set():
        clock.remaining()
        raise clock.passed()
    if fault:
        raise UnreachableError(f"{target.shown} cannot be reached: the name of its host cannot be resolved")
    return found


def _secure(connection: socket.socket, target: Target, clock: Clock, limits: Limits) -> ssl.SSLSocket:
    import ssl

    clock.enter("agreeing on TLS", limits.tls)
    try:
        context = ssl.create_default_context()
        connection.settimeout(clock.remaining())
        return context.wrap_socket(connection, server_hostname=target.host)
    except TimeoutError:
        raise
    except ssl.SSLCertVerificationError as fault:
        why = f"its certificate is not trusted ({fault.verify_message})"
    except ssl.SSLError as fault:
        why = f"TLS failed ({(fault.reason or 'no reason given').replace('_', ' ').lower()})"
    except OSError as fault:
        raise BrokenConnectionError(
            f"{target.shown}: the connection broke while agreeing on TLS ({fault.strerror or 'closed'})"
        ) from None
    raise TLSFailedError(f"{target.shown}: {why}") from None


def _converse(
    connection: socket.socket,
    method: str,
    target: Target,
    headers: Mapping[str, str],
    body: bytes | None,
    clock: Clock,
    limits: Limits,
    sent: Callable[[], None],
) -> Answer:
    wire = Wire(connection, clock, limits)
    try:
        clock.enter("sending the request", limits.send)
        wire.sendall(_request(method, target, headers, body))
        sent()
        clock.enter("waiting for the answer", limits.total)
        return _answer(wire, method, target, clock, limits)
    except TimeoutError:
        raise
    except ConnectionError:
        raise BrokenConnectionError(f"{target.shown}: the connection broke") from None
    except ValueError:
        raise BrokenConnectionError(f"{target.shown}: what answers does not keep to HTTP") from None
    except OSError as fault:
        raise BrokenConnectionError(
            f"{target.shown}: the connection broke ({fault.strerror or 'closed'})"
        ) from None


def _request(method: str, target: Target, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The bytes of a request. Raises ValueError for a header that would end before its end."""
    fields = {"Host": target.authority, "Accept-Encoding": "identity", "Connection": "close", **headers}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any(not line.isprintable() for line in lines):
        raise ValueError("a control character in the head of a request")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def _answer(wire: Wire, method: str, target: Target, clock: Clock, limits: Limits) -> Answer:
    """Receive the answer. Raises ValueError for what is no HTTP."""
    # Loaded while the service thinks: it takes longer than all that was done before.
    from http.client import HTTPException, HTTPResponse

    answer = HTTPResponse(wire, method=method)  # type: ignore[arg-type]
    try:
        answer.begin()
        clock.enter("receiving the answer", limits.receive)
        if (answer.length or 0) > limits.answer:
            raise wire.too_large()
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise BrokenConnectionError(f"{target.shown}: the answer is compressed, which was not asked for")
        received = answer.read(limits.answer + 1)
        if len(received) > limits.answer:
            raise wire.too_large()
        if answer.length and method != "HEAD":
            raise BrokenConnectionError(f"{target.shown}: the answer was cut off")
        return Answer(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=received,
            seconds=time.monotonic() - clock.began,
        )
    except ConnectionError:
        raise
    except HTTPException as fault:
        raise ValueError("no HTTP") from fault
    finally:
        answer.close()
