"""HTTP probes against servers that speak HTTP, and against those that do not."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from razar.config.model import Probe
from tests.probes.checking import attempt, refusal
from tests.support.http_server import serve
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def http(port: int, path: str = "/healthz", **options: object) -> Probe:
    return Probe(kind="http", target=f"http://127.0.0.1:{port}{path}", **options)  # type: ignore[arg-type]


async def test_asks_properly() -> None:
    async with serve(OK) as peer:
        assert await attempt(http(peer.port, "/a b?x=ü&y=%20")) is None
    (request,) = peer.requests
    assert request.decode().split("\r\n") == [
        "GET /a%20b?x=%C3%BC&y=%20 HTTP/1.1",
        f"Host: 127.0.0.1:{peer.port}",
        "User-Agent: razar",
        "Accept: */*",
        "",
        "",
    ]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_2xx_is_healthy(status: int) -> None:
    async with serve(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status) as peer:
        assert await attempt(http(peer.port)) is None


@pytest.mark.parametrize("status", [300, 302, 304, 401, 404, 500, 503])
async def test_anything_else_is_not(status: int) -> None:
    """A redirect is not followed: what it leads to is not what was asked for."""
    async with serve(b"HTTP/1.1 %d No\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status) as peer:
        expected = f"HTTP {status} from http://127.0.0.1:{peer.port}/healthz, expected 2xx"
        assert await refusal(http(peer.port)) == expected
        assert len(peer.requests) == 1


async def test_credentials_are_sent_and_never_shown() -> None:
    async with serve(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as peer:
        url = f"http://ann:p%40ss@localhost:{peer.port}/healthz?token=secret"
        error = await refusal(Probe(kind="http", target=url))
    assert error == f"HTTP 403 from http://localhost:{peer.port}/healthz, expected 2xx"
    header = b"Authorization: Basic " + base64.b64encode(b"ann:p@ss")
    assert header in peer.requests[0]
    assert f"Host: localhost:{peer.port}\r\n".encode() in peer.requests[0]
    assert "p@ss" not in await refusal(Probe(kind="http", target=url.replace(f":{peer.port}", ":1")))


async def test_address_that_makes_no_sense_is_not_quoted(tmp_path: Path) -> None:
    from razar.engine.events import ProbeFailed
    from razar.health_checks import Prober
    from tests.probes.checking import unused_evaluate
    from tests.support.components import Events, probe_target

    events = Events()
    prober = Prober(events, evaluate=unused_evaluate)
    prober.start(probe_target(Probe(kind="http", target="http://ann:p/ss@h:x/"), tmp_path), "readiness")
    (failed,) = events.of(ProbeFailed)
    assert failed.error == "cannot probe: its address is not valid"
    await prober.close()


async def test_ipv6_and_localhost() -> None:
    async with serve(OK, host="::1") as peer:
        assert await attempt(Probe(kind="http", target=f"http://[::1]:{peer.port}/")) is None
        assert await attempt(Probe(kind="http", target=f"http://localhost:{peer.port}/")) is None
        assert f"Host: [::1]:{peer.port}\r\n".encode() in peer.requests[0]


async def test_body_that_never_ends_is_not_waited_for() -> None:
    """An event stream answers at once and goes on for ever."""
    async with serve(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", linger=True
    ) as peer:
        assert await attempt(http(peer.port, timeout=5.0)) is None


async def test_silent_server_runs_into_the_limit() -> None:
    async with serve(linger=True) as peer:
        assert await refusal(http(peer.port, timeout=0.05)) == "no answer within 0.05 s"


async def test_slow_drip_runs_into_the_limit() -> None:
    """Every byte comes in time, the answer does not."""
    async with serve(*(b"%c" % byte for byte in OK), pause=0.02) as peer:
        assert await refusal(http(peer.port, timeout=0.1)) == "no answer within 0.1 s"


async def test_answer_in_small_pieces() -> None:
    async with serve(*(b"%c" % byte for byte in OK)) as peer:
        assert await attempt(http(peer.port, timeout=5.0)) is None


async def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert await refusal(http(port)) == f"connection to 127.0.0.1:{port} refused"


async def test_queue_that_is_full_runs_into_the_limit() -> None:
    """A server that does not accept looks like one that is overloaded."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        port = sock.getsockname()[1]
        held = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            held.append(client)
        assert await refusal(http(port, timeout=0.05)) == "no answer within 0.05 s"
        for client in held:
            client.close()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 200", "the connection was closed before the end of the answer"),
        (b"SSH-2.0-OpenSSH_9\r\n", r"the answer is not HTTP: b'SSH-2.0-OpenSSH_9\r\n'"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "the port speaks TLS: the probe should begin with https://"),
        (b"HTTP/2 200\r\n\r\n", "the answer is not HTTP/1: 'HTTP/2 200'"),
        (b"HTTP/1.1 OK\r\n\r\n", "the answer is not HTTP/1: 'HTTP/1.1 OK'"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, "the head of the answer is larger than 32768 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "the answer has the content-length '-5'"),
    ],
)
async def test_answer_that_is_none(said: bytes, error: str) -> None:
    async with serve(said) as peer:
        assert await refusal(http(peer.port)) == error


async def test_reset_instead_of_an_answer() -> None:
    def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert "the connection was closed" in await refusal(http(port))
    server.close()
    await server.wait_closed()


async def test_name_that_does_not_exist() -> None:
    error = await refusal(Probe(kind="http", target="http://no-such-host.invalid/", timeout=5.0))
    assert error.startswith("the name no-such-host.invalid cannot be resolved")


async def test_port_that_answers_is_not_our_own() -> None:
    """Asking often enough, the kernel picks the very port as our own, and we would talk to ourselves.

    That would be a false success, and would keep the component from its port.
    """

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    met = []

    class Narcissus(socket.socket):
        def connect_ex(self, address: Any) -> int:
            if not met:
                self.bind(address)
                met.append(address)
            return super().connect_ex(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("razar.probes.net.socket.socket", Narcissus)
        assert await refusal(http(port)) == f"connection to 127.0.0.1:{port} refused"
    assert met == [("127.0.0.1", port)]
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))  # Free at once.


async def test_server_that_closed_first_can_bind_its_port_again() -> None:
    """Without care the server's port would be in TIME_WAIT for a minute, and its restart would fail."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]

    def answer_and_close() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nfine")
        connection.close()
        listener.close()

    answering = asyncio.get_running_loop().run_in_executor(None, answer_and_close)
    assert await attempt(http(port)) is None
    await answering

    def bound() -> bool:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
        return True

    assert await until(bound)
