"""The kinds of probes that need little: tcp, ws, file, cmd."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, basic_auth, serve

from razar.config.model import Probe
from razar.health_checks import file_stamp
from tests.probes.checking import attempt, refusal
from tests.support.components import alive, listening_port, read_pid, sh
from tests.support.http_server import serve as serve_http
from tests.support.waiting import until


def coarse_ns() -> int:
    return time.clock_gettime_ns(5)


# -- tcp ----------------------------------------------------------------------------------------


async def test_tcp() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        probe = Probe(kind="tcp", target=f"127.0.0.1:{port}")
        assert await refusal(probe) == f"connection to 127.0.0.1:{port} refused"
        sock.listen()
        assert await attempt(probe) is None


async def test_tcp_accepts_a_url_and_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        sock.listen()
        assert await attempt(Probe(kind="tcp", target=f"tcp://[::1]:{sock.getsockname()[1]}")) is None


# -- ws -----------------------------------------------------------------------------------------


@pytest.fixture
async def ws_server() -> AsyncIterator[Any]:
    closed: list[int | None] = []

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed.append(connection.close_code)

    async with serve(handle, "127.0.0.1", 0) as server:
        server.closed = closed  # type: ignore[attr-defined]
        yield server


async def test_ws_handshake(ws_server: Any) -> None:
    assert (
        await attempt(Probe(kind="ws", target=f"ws://127.0.0.1:{listening_port(ws_server)}/x", timeout=5.0))
        is None
    )
    await until(lambda: ws_server.closed == [1000])


async def test_ws_with_credentials() -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    guard = basic_auth(credentials=("ann", "secret99"))
    async with serve(handle, "127.0.0.1", 0, process_request=guard) as server:
        port = listening_port(server)
        assert (
            await attempt(Probe(kind="ws", target=f"ws://ann:secret99@127.0.0.1:{port}/", timeout=5.0))
            is None
        )
        error = await refusal(Probe(kind="ws", target=f"ws://ann:wrong999@127.0.0.1:{port}/", timeout=5.0))
    assert error == "HTTP 401 instead of a websocket handshake"


async def test_ws_without_a_listener() -> None:
    error = await refusal(Probe(kind="ws", target="ws://ann:secret99@127.0.0.1:1/"))
    assert error == "connection to 127.0.0.1:1 refused"


async def test_ws_against_plain_http() -> None:
    async with serve_http(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as peer:
        error = await refusal(Probe(kind="ws", target=f"ws://127.0.0.1:{peer.port}/", timeout=5.0))
    assert error == "HTTP 200 instead of a websocket handshake"


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b""])
async def test_ws_against_something_else(said: bytes) -> None:
    async with serve_http(said) as peer:
        error = await refusal(Probe(kind="ws", target=f"ws://127.0.0.1:{peer.port}/", timeout=5.0))
    assert error.startswith("the websocket handshake failed: ")


async def test_ws_that_stays_silent() -> None:
    async with serve_http(linger=True) as peer:
        probe = Probe(kind="ws", target=f"ws://127.0.0.1:{peer.port}/", timeout=0.2)
        assert await refusal(probe) == "no answer within 0.2 s"


# -- file ---------------------------------------------------------------------------------------


async def test_file_written_after_the_launch(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    probe = Probe(kind="file", target=str(path))
    launched = coarse_ns()
    assert await refusal(probe, launched_ns=launched) == f"{path} does not exist"
    path.touch()
    assert await attempt(probe, launched_ns=launched, before=file_stamp(probe)) is not None
    assert await attempt(probe, launched_ns=launched) is None


async def test_file_of_an_earlier_launch_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.touch()
    old = path.stat().st_mtime_ns - 1
    os.utime(path, ns=(old, old))
    probe = Probe(kind="file", target=str(path))
    stamp = file_stamp(probe)
    error = f"{path} exists, but was not written since this launch"
    assert await refusal(probe, launched_ns=old + 1) == error
    # Even if it was written in the very instant of the launch.
    assert await refusal(probe, launched_ns=old, before=stamp) == error
    path.write_text("now")
    assert await attempt(probe, launched_ns=old + 1, before=stamp) is None


async def test_file_system_that_keeps_whole_seconds(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.touch()
    second = 1_700_000_000 * 10**9
    os.utime(path, ns=(second, second))
    probe = Probe(kind="file", target=str(path))
    assert await attempt(probe, launched_ns=second + 900_000_000) is None
    assert await attempt(probe, launched_ns=second + 10**9) is not None


async def test_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "does not exist" in await refusal(Probe(kind="file", target=str(tmp_path / "file" / "x")))


# -- cmd ----------------------------------------------------------------------------------------


async def test_cmd_runs_in_the_component_surroundings(tmp_path: Path) -> None:
    (tmp_path / "up").touch()
    probe = Probe(kind="cmd", argv=sh('test -e up && test "$MODE" = fast'), timeout=5.0)
    assert await attempt(probe, tmp_path, env={"PATH": os.environ["PATH"], "MODE": "fast"}) is None


async def test_cmd_that_fails_says_why(tmp_path: Path) -> None:
    probe = Probe(
        kind="cmd", argv=sh("echo checking; echo 'no route to\tdb http://a:b@db/' >&2; exit 4"), timeout=5.0
    )
    assert await refusal(probe) == "/bin/sh exited with 4, expected 0: no route to    db http://db/"


async def test_cmd_that_is_not_there() -> None:
    assert "there is no such program on PATH" in await refusal(Probe(kind="cmd", argv=("nope",)))


async def test_cmd_ended_by_a_signal() -> None:
    assert (
        await refusal(Probe(kind="cmd", argv=sh("kill -ABRT $$"), timeout=5.0))
        == "/bin/sh was ended by SIGABRT"
    )


async def test_hanging_cmd_probe_is_killed_with_its_children(tmp_path: Path) -> None:
    """A probe that hangs must not hang the boot, and must not leave anything running."""
    script = "trap '' TERM; setsid sleep 60 & echo $! > child; echo $$ > pid; while :; do sleep 60; done"
    for timeout in (0.4, 4.0):  # The longer one if it got nowhere in the short one.
        probe = Probe(kind="cmd", argv=sh(script), timeout=timeout)
        assert await refusal(probe, tmp_path) == f"no answer within {timeout:g} s"
        if (tmp_path / "pid").exists():
            break
    assert not alive(await read_pid(tmp_path / "pid"))
    assert not alive(await read_pid(tmp_path / "child"))


async def test_cmd_that_succeeds_leaves_nothing_behind(tmp_path: Path) -> None:
    probe = Probe(kind="cmd", argv=sh("setsid sleep 60 & echo $! > child"), timeout=5.0)
    assert await attempt(probe, tmp_path) is None
    assert not alive(await read_pid(tmp_path / "child"))


async def test_many_commands_at_once() -> None:
    probe = Probe(kind="cmd", argv=("true",), timeout=20.0)
    assert await asyncio.gather(*(attempt(probe) for _ in range(50))) == [None] * 50
