"""Boot a mission whose router has a bug, and have it repaired; Ctrl-C stops it.

Without KIMI2_ENDPOINT the agent is a recording: the same answer, served on loopback, whatever is asked.
With KIMI2_ENDPOINT and KIMI2_API_KEY set, the failure goes to that endpoint instead.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from recorded_agent import serve

HERE = Path(__file__).resolve().parent


def free_ports(count: int) -> list[str]:
    """Ports nobody has at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for candidate in sockets:
        candidate.bind(("127.0.0.1", 0))
    ports = [str(candidate.getsockname()[1]) for candidate in sockets]
    for candidate in sockets:
        candidate.close()
    return ports


def main() -> int:
    """Run the demo on a copy of the mission, so that it can be run again; return the exit code."""
    environ = dict(os.environ)
    if not environ.get("KIMI2_ENDPOINT"):
        environ["KIMI2_ENDPOINT"] = serve()
        print(
            "demo: the agent's answer is a recording; set KIMI2_ENDPOINT and KIMI2_API_KEY to ask a real one"
        )
    environ["REPAIR_UPSTREAM_PORT"], environ["REPAIR_ROUTER_PORT"] = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="razar-repair-") as name:
        folder = Path(name) / "mission"
        shutil.copytree(
            HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "run.py", "recorded_agent.py")
        )
        print(f"demo: the mission is in {folder}", flush=True)
        command = [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "repair", *sys.argv[1:]]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # It is for the mission, which stops and says so.
        mission = subprocess.Popen(command, cwd=folder, env=environ, preexec_fn=_hear_interrupts)
        signal.signal(signal.SIGTERM, lambda *_: mission.terminate())
        code = mission.wait()
        _show_difference(folder)
    return code


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _show_difference(folder: Path) -> None:
    """What the repair has left in the mission's files."""
    before, after = HERE / "router/routes.py", folder / "router/routes.py"
    if before.read_bytes() != after.read_bytes():
        print("demo: router/routes.py was repaired; the original in examples/repair is as it was")


if __name__ == "__main__":
    sys.exit(main())
