"""Ports for servers that a test has others start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["free_port"]

#: Names that no other process of tests can have while we live: the ports we have given away.
_claims: list[socket.socket] = []
_chance = random.SystemRandom()


def free_port() -> int:
    """A port that nobody has, and that nobody is given: neither by the kernel nor by tests that run beside us.

    The kernel gives those of its own range to whoever asks for any: between now and the instant in which
    a component takes its port that may be a server or a client of another test.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = _chance.randrange(max(1024, low - 16384), low) if low > 2048 else 0
        with socket.socket() as candidate:
            claim = socket.socket(socket.AF_UNIX)
            try:
                candidate.bind(("127.0.0.1", port))
                port = int(candidate.getsockname()[1])
                claim.bind(f"\0razar-tests/port/{port}")
            except OSError:
                claim.close()
                continue
            _claims.append(claim)
            return port
    raise AssertionError("there is no free port")
