"""Who listens is told by the kernel; whoever waits for a port is woken when somebody does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from razar.probes import listeners
from razar.probes.listeners import Listeners, listening_ports


@contextmanager
def alone(family: socket.AddressFamily) -> Iterator[socket.socket]:
    """A socket with a port that nobody else gets, of whatever family, also when it is closed."""
    hosts = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

    def bound(family: socket.AddressFamily, port: int) -> socket.socket:
        sock = sockets.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((hosts[family], port))
        return sock

    with ExitStack() as sockets:
        while True:
            sock = bound(family, 0)
            try:
                for other in hosts:
                    bound(other, sock.getsockname()[1])
                break
            except OSError:
                continue  # Somebody has its number in the other family.
        yield sock


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_sockets_that_listen_and_no_others(family: socket.AddressFamily) -> None:
    with alone(family) as sock:
        port = sock.getsockname()[1]
        assert port not in listening_ports()
        sock.listen()
        assert port in listening_ports()
        with socket.create_connection(sock.getsockname()[:2]) as client:
            assert client.getsockname()[1] not in listening_ports()
        sock.close()
        assert port not in listening_ports()


def test_more_sockets_than_fit_into_one_answer() -> None:
    sockets = [socket.socket() for _ in range(500)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        assert {sock.getsockname()[1] for sock in sockets} <= listening_ports()
    finally:
        for sock in sockets:
            sock.close()


async def test_a_waiter_is_woken_by_its_own_port_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "ANYWAY", 600.0)
    watch, loop = Listeners(), asyncio.get_running_loop()
    with socket.socket() as one, socket.socket() as other:
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
        waiting = [
            asyncio.create_task(watch.wait(sock.getsockname()[1], loop.time(), 0.001, 1000))
            for sock in (one, other)
        ]
        one.listen()
        async with asyncio.timeout(10):
            await waiting[0]
        assert not waiting[1].done()
        other.listen()
        async with asyncio.timeout(10):
            await waiting[1]
    assert not watch._waiting


async def test_one_asks_all_the_same_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a port is redirected, nobody need listen on it."""
    monkeypatch.setattr(listeners, "ANYWAY", 0.01)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        async with asyncio.timeout(10):
            await Listeners().wait(silent.getsockname()[1], asyncio.get_running_loop().time(), 0.001, 1000)


async def test_without_the_kernels_help_one_sleeps_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []

    def refuse() -> set[int]:
        asked.append(None)
        raise PermissionError

    monkeypatch.setattr(listeners, "ANYWAY", 0.01)
    monkeypatch.setattr(listeners, "listening_ports", refuse)
    watch, loop = Listeners(), asyncio.get_running_loop()
    async with asyncio.timeout(10):
        await watch.wait(1, loop.time(), 0.005, 1000)
        monkeypatch.setattr(listeners, "ANYWAY", 600.0)
        await watch.wait(1, loop.time(), 0.005, 1000)
    assert len(asked) == 1


async def test_a_wait_that_is_cancelled_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Listeners()
    task = asyncio.create_task(watch.wait(1, asyncio.get_running_loop().time(), 0.001, 1000))
    await asyncio.sleep(0)
    assert watch._waiting
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not watch._waiting


async def test_a_few_ask_for_themselves_where_many_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes longer than their attempts together is none to wait for."""
    monkeypatch.setattr(listeners, "ANYWAY", 600.0)
    watch, loop = Listeners(), asyncio.get_running_loop()
    watch._cost = 5 * listeners.ATTEMPT
    async with asyncio.timeout(10):
        await watch.wait(1, loop.time(), 0.005, 4)
    waiting = asyncio.create_task(watch.wait(1, loop.time(), 0.005, 6))
    await asyncio.sleep(0)
    assert watch._waiting
    waiting.cancel()
