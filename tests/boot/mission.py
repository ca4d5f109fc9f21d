"""A real mission in a folder of its own, booted by the real program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from razar.launchers import procfs
from tests.support.waiting import until_sync

REPOSITORY = Path(__file__).parents[2]
#: Answers every GET with 200 after PORT is known to be free; stops on TERM at once.
HTTP_SERVICE = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    client.close()
"""


def script(id: str, text: str, **settings: Any) -> dict[str, Any]:
    """A shell script; healthy once it has written ``ready``."""
    return {"id": id, "layer": "core", "entrypoint": ["sh", "-c", text], "health": "log: ready", **settings}


def service(id: str, **settings: Any) -> dict[str, Any]:
    """A script that is ready at once and stays."""
    return script(id, "echo ready; exec sleep 1000", **settings)


def http_service(id: str, port: int, **settings: Any) -> dict[str, Any]:
    """A real HTTP server."""
    return {
        "id": id,
        "layer": "core",
        "entrypoint": ["python", "-I", "-S", "-c", HTTP_SERVICE, str(port)],
        "health": f"http://127.0.0.1:{port}/healthz",
        **settings,
    }


class Mission:
    """A mission folder and its supervisor."""

    def __init__(self, folder: Path, *components: dict[str, Any], **settings: Any) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        config = {"mission": "demo", "crown": {"policy": "off"}, "components": components, **settings}
        (folder / "boot_config.json").write_text(json.dumps(config, indent=2))

    def start(self, *options: str, **environ: str) -> Mission:
        """Start the supervisor."""
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "demo", *options],
                cwd=self.folder,
                env=self.environ(**environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self

    def boot(self, *options: str, **environ: str) -> int:
        """Boot and stop at once; return the exit code."""
        self.start("--exit-after-boot", *options, **environ)
        return self.wait()

    def wait(self, timeout: float = 60) -> int:
        """Wait for the supervisor's end; return its exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the supervisor and wait for its end."""
        self.signal(number)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Signal the supervisor."""
        assert self.process is not None
        self.process.send_signal(number)

    def run(self, module: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run another program of RAZAR in the mission's folder, to its end."""
        return subprocess.run(
            [sys.executable, "-m", module, *argv],
            cwd=self.folder,
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of the supervisor: nothing of ours decides what it does."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("RAZAR_", "CROWN_", "KIMI2_", "OTEL_"))
        }
        return kept | {"PYTHONPATH": str(REPOSITORY), "RAZAR_METRICS_PORT": "0"} | self.environment | more

    def program(self, code: str) -> None:
        """Have the supervisor run this Python first."""
        (self.folder / "sitecustomize.py").write_text(code)
        self.environment["PYTHONPATH"] = f"{self.folder}:{REPOSITORY}"

    # -- what it wrote ------------------------------------------------------------------------

    @property
    def out(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def log(self) -> list[str]:
        """The lines of boot_orchestrator.log without their times."""
        path = self.logs / "boot_orchestrator.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.partition("] ")[2] if line.startswith("[") else line for line in lines]

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = msgspec.json.decode((self.logs / "razar_state.json").read_bytes())
        return state

    def component(self, id: str) -> dict[str, Any]:
        """A component as the state file shows it; empty before there is one."""
        try:
            return next(c for c in self.state["components"] if c["id"] == id)
        except FileNotFoundError:
            return {}

    def wait_for_line(self, line: str, timeout: float = 30) -> None:
        """Wait until the log has this line (without its time)."""
        assert self.process is not None

        def written() -> bool:
            if line in self.log:
                return True
            assert self.process is not None
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log} {self.err}"
            return False

        until_sync(written, timeout)

    def wait_for_state(self, id: str, state: str, timeout: float = 30) -> dict[str, Any]:
        """Wait until the state file shows a component in a state; return it."""
        found: dict[str, Any] = until_sync(
            lambda: self.component(id).get("state") == state and self.component(id), timeout
        )
        return found

    def processes(self) -> list[int]:
        """Every living process that was started in this folder's missions, found by its working folder."""
        found = []
        for pid in procfs.all_pids():
            try:
                where = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            entry = procfs.stat(pid)
            if where == str(self.folder) and entry is not None and not entry.ended and pid != os.getpid():
                found.append(pid)
        return found
