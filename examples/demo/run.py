"""Boot the demo mission on ports that are free: 8000 to 8002 where possible, others where not."""

from __future__ import annotations

import os
import socket
import sys

PORTS = {"DEMO_BASIC_PORT": 8000, "DEMO_COMPLEX_PORT": 8001, "DEMO_CROWN_PORT": 8002}


def free_port(preferred: int) -> int:
    """Return the preferred port if nobody has it, otherwise one the kernel chooses."""
    for port in (preferred, 0):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(candidate.getsockname()[1])
    raise SystemExit("demo: no free port on 127.0.0.1")


if __name__ == "__main__":
    for name, preferred in PORTS.items():
        if name not in os.environ:
            port = free_port(preferred)
            os.environ[name] = str(port)
            if port != preferred:
                print(f"demo: port {preferred} is taken, {name}={port} is used instead", flush=True)
    command = [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "demo", *sys.argv[1:]]
    os.execv(sys.executable, command)
