"""A small real mission in a folder of its own, and ``razar`` run on it as an operator would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from razar.control.client import NotRunningError, UnresponsiveError, connect
from razar.operator.mission import read_snapshot
from tests.support.waiting import until_sync

__all__ = ["COMPONENTS", "Folder", "component", "razar", "running"]

REPOSITORY = Path(__file__).parents[2]


def component(id: str, script: str, **settings: Any) -> dict[str, Any]:
    """A shell script as a component; healthy when it has written ``ready``."""
    return {
        "id": id,
        "layer": "core",
        "entrypoint": ["sh", "-c", script],
        "health": "log: ready",
        "stop": {"grace": "10s"},
        "retries": 0,
        **settings,
    }


COMPONENTS = (
    component("web", "echo web is ready; exec sleep 1000"),
    component("worker", "echo worker is ready; exec sleep 1000", depends_on=["web"]),
    component("broken", "echo no such table >&2; exit 3", criticality="optional"),
)


def environment(**more: str) -> dict[str, str]:
    """The environment that commands and missions of the tests run in."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAZAR_", "CROWN_", "NO_COLOR"))
    }
    return {**kept, "PYTHONPATH": str(REPOSITORY), "RAZAR_METRICS_PORT": "0", **more}


def razar(folder: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``razar`` to its end; ``more`` are variables."""
    return subprocess.run(
        [sys.executable, "-m", "razar", *argv],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )


class Folder:
    """A mission folder, with a supervisor or without."""

    def __init__(self, path: Path, *components: dict[str, Any], ignition: str = "sequential") -> None:
        self.path = path
        self.logs = path / "logs"
        self.process: subprocess.Popen[bytes] | None = None
        config = {
            "mission": "demo",
            "ignition": ignition,
            "crown": {"policy": "off"},
            "components": components or COMPONENTS,
        }
        (path / "boot_config.json").write_text(json.dumps(config, indent=2))

    def razar(self, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``razar`` in the folder."""
        return razar(self.path, *argv, **more)

    def json(self, *argv: str) -> Any:
        """Run ``razar … --json`` and read what it prints."""
        return json.loads(self.razar(*argv, "--json").stdout)

    def boot(self) -> None:
        """Start the supervisor and wait until the boot has ended."""
        with open(self.path / "supervisor.out", "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "demo"],
                cwd=self.path,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        until_sync(lambda: self.ended() or self._booted(), timeout=30)
        assert not self.ended(), (self.path / "supervisor.out").read_text()

    def _booted(self) -> bool:
        """Whether the boot has ended, also for those who only read the state file."""
        status = self.status()
        if status["supervisor"]["phase"] != "settled":
            return False
        snapshot = read_snapshot(str(self.logs)) or {}
        return all(snapshot.get(key) == status["snapshot"][key] for key in ("boot_id", "last_boot"))

    def status(self) -> dict[str, Any]:
        """Ask the supervisor directly."""
        try:
            with connect(str(self.logs)) as connection:
                return connection.request("status")
        except (NotRunningError, UnresponsiveError):
            return {"supervisor": {"phase": "none"}, "snapshot": {"components": []}}

    def component(self, id: str) -> dict[str, Any]:
        """The entry of one component as the supervisor sees it."""
        found = [entry for entry in self.status()["snapshot"]["components"] if entry["id"] == id]
        assert found, f"no component {id}"
        return dict(found[0])

    def ended(self) -> bool:
        """Whether the supervisor has ended."""
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """End the supervisor as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Leave nothing running."""
        pids = [entry["pid"] for entry in self.status()["snapshot"]["components"] if entry["pid"]]
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
                for pid in pids:
                    os.killpg(pid, signal.SIGKILL)


@contextmanager
def running(path: Path, *components: dict[str, Any], ignition: str = "sequential") -> Iterator[Folder]:
    """A mission that has booted."""
    folder = Folder(path, *components, ignition=ignition)
    try:
        folder.boot()
        yield folder
    finally:
        folder.close()
