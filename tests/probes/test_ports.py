"""A port that somebody else holds is found out before the launch, with a name."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from razar.config.model import Probe, ProbeKind
from razar.health_checks import port_conflict

HOLD = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind((sys.argv[1], 0))
sock.listen()
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def stranger(host: str) -> Iterator[tuple[int, int]]:
    """Another process that listens: its pid and its port."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLD, host, "--token=secret99"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("http", "http://127.0.0.1:{}/x"),
        ("http", "https://localhost:{}/"),
        ("tcp", "127.0.0.1:{}"),
        ("ws", "ws://localhost:{}/"),
        ("grpc", "localhost:{}"),
    ],
)
def test_port_held_by_stranger_is_named(kind: ProbeKind, target: str) -> None:
    with stranger("127.0.0.1") as (pid, port):
        conflict = port_conflict(Probe(kind=kind, target=target.format(port)))
        assert conflict is not None
        assert conflict.startswith(f"port {port} is already in use by pid {pid} ({sys.executable} -S -c ")
        assert "secret99" not in conflict
    assert port_conflict(Probe(kind=kind, target=target.format(port))) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1"])
def test_every_address_that_would_answer_counts(host: str) -> None:
    with stranger(host) as (pid, port):
        conflict = port_conflict(Probe(kind="tcp", target=f"localhost:{port}"))
        assert conflict is not None
        assert f"pid {pid} " in conflict


def test_our_own_listener_is_found_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        conflict = port_conflict(Probe(kind="tcp", target=f"127.0.0.1:{sock.getsockname()[1]}"))
        assert conflict is not None
        assert f"pid {os.getpid()} " in conflict


def test_connection_that_merely_uses_the_number_is_no_listener() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as client:
        assert port_conflict(Probe(kind="tcp", target=f"127.0.0.1:{client.getsockname()[1]}")) is None


@pytest.mark.parametrize(
    "probe",
    [
        Probe(kind="http", target="http://192.0.2.1:80/"),
        Probe(kind="tcp", target="example.com:80"),
        Probe(kind="file", target="/tmp/x"),
        Probe(kind="notify"),
    ],
)
def test_only_ports_of_this_machine_are_looked_at(probe: Probe) -> None:
    assert port_conflict(probe) is None


def test_holder_that_may_not_be_seen() -> None:
    """Its descriptors are another user's: the uid is all there is to tell."""
    from razar.utils.ports import _name

    assert _name({"999999999999": 1234}) == "a process of the user with uid 1234, which is not ours to see"
