"""The Crown that RAZAR brings along: a small server on loopback that agrees to every valid mission."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from razar import __version__
from razar.crown.protocol import MAX_FRAME, SUBPROTOCOL, FrameError, decode_brief, encode
from razar.crown.result import clean, parse_until

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.server import ServerProtocol

__all__ = ["EmbeddedCrown", "answer_to", "embedded_crown", "main", "servant_names"]

HOST = "127.0.0.1"
#: How long a client may take to connect, and to send its brief, in seconds.
OPEN_LIMIT = 10.0
RECEIVE_LIMIT = 10.0


class EmbeddedCrown(Struct, frozen=True, kw_only=True):
    """Where a running embedded Crown is, and the token it asks for (None: it asks for none)."""

    url: str
    port: int
    token: str | None


def servant_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the models named in ``SERVANT_MODELS`` (``name=url,name=url``): what this Crown can offer."""
    pairs = (item.partition("=") for item in environ.get("SERVANT_MODELS", "").split(","))
    names = (clean(name, 128) for name, _, url in pairs if url.strip())
    return tuple(dict.fromkeys(name for name in names if name))


def answer_to(
    raw: str | bytes,
    *,
    capabilities: Sequence[str] = (),
    downtime: Mapping[str, Mapping[str, Any]] | None = None,
    refuse: str | None = None,
) -> dict[str, Any]:
    """Return the answer to one frame: an acknowledgement, or a refusal that says why."""
    answer: dict[str, Any] = {"type": "ack", "status": "refused", "crown_version": f"{__version__}+embedded"}
    try:
        brief = decode_brief(raw)
    except FrameError as error:
        return answer | {"ack": f"not a mission brief: {error}"}
    if refuse is not None:
        return answer | {"ack": refuse}
    return answer | {
        "status": "ack",
        "ack": f"mission {brief.mission} acknowledged",
        "capabilities": list(capabilities),
        "downtime": dict(downtime or {}),
    }


@asynccontextmanager
async def embedded_crown(
    *,
    capabilities: Sequence[str] = (),
    downtime: Mapping[str, Mapping[str, Any]] | None = None,
    refuse: str | None = None,
    port: int = 0,
    token: str | None = "",
) -> AsyncIterator[EmbeddedCrown]:
    """Serve on loopback for as long as the context is entered. Raises OSError if it cannot listen.

    ``port`` 0 takes a free one. ``token`` is what clients must show: the empty string makes a new
    one, so that nothing else on the machine can use this Crown; None asks for none.
    """
    from websockets.http11 import Response
    from websockets.protocol import State
    from websockets.server import ServerProtocol
    from websockets.typing import Subprotocol

    from razar.crown.client import quiet_logger
    from razar.crown.wire import Wire

    if token == "":
        token = secrets.token_urlsafe(32)
    gate = _gate(token)
    wires: set[Connection] = set()
    loop = asyncio.get_running_loop()

    class Connection(Wire[ServerProtocol]):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            wires.add(self)
            self.patience = loop.call_later(OPEN_LIMIT, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self.patience.cancel()
            wires.discard(self)
            super().connection_lost(exc)

        def greeted(self, greeting: Request | Response) -> None:
            assert not isinstance(greeting, Response)  # Only clients ask.
            port = self.transport.get_extra_info("sockname")[1]
            refusal = gate(self.protocol, greeting, port)
            self.protocol.send_response(refusal or self.protocol.accept(greeting))
            self.patience.cancel()
            self.patience = loop.call_later(RECEIVE_LIMIT, self.begin_close)

        def heard(self, message: str | bytes) -> None:
            super().heard(message)
            if self.protocol.state is not State.OPEN:
                return  # It has left together with its brief.
            answer = answer_to(message, capabilities=capabilities, downtime=downtime, refuse=refuse)
            self.protocol.send_text(encode(answer))
            self.begin_close()

    def connection() -> Connection:
        protocol = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_FRAME, logger=quiet_logger()
        )
        return Connection(protocol)

    server = await loop.create_server(connection, HOST, port)
    bound = server.sockets[0].getsockname()[1]
    try:
        yield EmbeddedCrown(url=f"ws://{HOST}:{bound}/", port=bound, token=token)
    finally:
        # Whoever hangs must not hold up the end of the boot.
        server.close()
        for wire in tuple(wires):
            wire.transport.abort()


def _gate(token: str | None) -> Callable[[ServerProtocol, Request, int], Response | None]:
    """Refuse what a web page could send (foreign Host, any Origin) and who does not know the token."""

    def refusal(protocol: ServerProtocol, request: Request, port: int) -> Response | None:
        if request.headers.get_all("Host") not in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
            return protocol.reject(421, "this server answers to its loopback address only\n")
        if request.headers.get_all("Origin"):
            return protocol.reject(403, "browsers are not served\n")
        shown = request.headers.get_all("Authorization")
        if token is None:
            return None
        expected = f"Bearer {token}".encode()
        if len(shown) != 1 or not secrets.compare_digest(shown[0].encode(), expected):
            return protocol.reject(401, "a bearer token is needed\n")
        return None

    return refusal


def parse_downtime(items: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``ID=REASON`` and ``ID=REASON@UNTIL``; raise ValueError."""
    downtime: dict[str, dict[str, Any]] = {}
    for item in items:
        id, equals, reason = item.partition("=")
        if not equals or not id:
            raise ValueError(f"{item}: expected ID=REASON or ID=REASON@UNTIL")
        before, at, until = reason.rpartition("@")
        if not at:
            downtime[id] = {"reason": reason}
            continue
        instant: str | float = float(until) if until.replace(".", "", 1).isdigit() else until
        try:
            parse_until(instant)
        except ValueError as error:
            raise ValueError(f"{item}: the time {error}") from None
        downtime[id] = {"reason": before, "until": instant}
    return downtime


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the first line on stdout is the URL. Returns the exit status."""
    import argparse
    import os
    import sys

    parser = argparse.ArgumentParser(
        prog="python -m razar.crown_embedded",
        description="Serve a Crown on loopback. Clients must show $CROWN_TOKEN if that is set.",
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0, the default, takes a free one")
    parser.add_argument("--capability", action="append", default=[], metavar="NAME", help="may be repeated")
    parser.add_argument(
        "--downtime", action="append", default=[], metavar="ID=REASON[@UNTIL]", help="may be repeated"
    )
    parser.add_argument("--refuse", metavar="REASON", help="refuse every mission")
    options = parser.parse_args(argv)
    try:
        downtime = parse_downtime(options.downtime)
    except ValueError as error:
        parser.error(str(error))
    if not 0 <= options.port <= 65535:
        parser.error(f"--port {options.port}: a port is a number from 0 to 65535")
    serving = embedded_crown(
        capabilities=options.capability,
        downtime=downtime,
        refuse=options.refuse,
        port=options.port,
        token=os.environ.get("CROWN_TOKEN") or None,
    )
    try:
        asyncio.run(_serve(serving))
    except OSError as error:
        print(f"cannot listen on {HOST}:{options.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def _serve(serving: Any) -> None:
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving as crown:
        print(crown.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    from razar.utils.pipes import until_closed

    raise SystemExit(until_closed(main))
