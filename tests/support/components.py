"""Helper components: small programs for the launcher's and the probes' tests, and what they report."""

from __future__ import annotations

import os
import secrets
import sys
import textwrap
from pathlib import Path
from typing import Any

from razar.config.model import Limits, Probe
from razar.engine.events import Exited, ProbeFailed, ProbePassed
from razar.health_checks import ProbeTarget
from razar.launchers import procfs
from razar.launchers.base import LaunchSpec
from tests.support.waiting import until

__all__ = ["Events", "alive", "launch_spec", "listening_port", "probe_target", "python", "read_pid", "sh"]


class Events(list[Any]):
    """Collects what is reported; pass the object itself as ``report``."""

    def __call__(self, event: object) -> None:
        self.append(event)

    async def exited(self, count: int = 1) -> Exited:
        """Wait for so many ends; return the last one."""
        await until(lambda: len(self.of(Exited)) >= count)
        event: Exited = self.of(Exited)[count - 1]
        return event

    async def passed(self) -> ProbePassed:
        """Wait for a probe that passed."""
        await until(lambda: self.of(ProbePassed))
        event: ProbePassed = self.of(ProbePassed)[0]
        return event

    async def failed(self, containing: str = "") -> str:
        """Wait for a failure with this text; return its whole text."""
        error: str = await until(
            lambda: next((e.error for e in self.of(ProbeFailed) if containing in e.error), None)
        )
        return error

    def of(self, kind: type) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self if isinstance(event, kind)]


def sh(script: str) -> tuple[str, ...]:
    """Return the argv of a shell script."""
    return ("/bin/sh", "-c", textwrap.dedent(script))


def python(script: str) -> tuple[str, ...]:
    """Return the argv of a Python script without site-packages, which starts fast."""
    return (sys.executable, "-I", "-S", "-u", "-c", textwrap.dedent(script))


def launch_spec(folder: Path, argv: tuple[str, ...], **changes: Any) -> LaunchSpec:
    """Describe an incarnation whose log is ``folder/logs/components/ID/current.log``."""
    component = changes.pop("component", "crown_router")
    nonce = secrets.token_hex(8)
    env = {"PATH": os.environ["PATH"], "RAZAR_NONCE": nonce, **changes.pop("env", {})}
    values: dict[str, Any] = {
        "incarnation": 1,
        "cwd": str(folder),
        "log": str(folder / "logs" / "components" / component / "current.log"),
        "limits": Limits(),
        **changes,
    }
    return LaunchSpec(component=component, argv=argv, env=env, nonce=nonce, **values)


def probe_target(probe: Probe, folder: Path, **changes: Any) -> ProbeTarget:
    """Describe an incarnation to probe."""
    values: dict[str, Any] = {
        "component": "crown_router",
        "incarnation": 1,
        "cwd": str(folder),
        "env": dict(os.environ),
        "log": str(folder / "current.log"),
        **changes,
    }
    return ProbeTarget(probe=probe, **values)


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    entry = procfs.stat(pid)
    return entry is not None and not entry.ended


async def read_pid(path: Path) -> int:
    """Wait for a file with a pid in its first line."""
    return int(await until(lambda: path.exists() and path.read_text().partition("\n")[0].strip()))


def listening_port(server: Any) -> int:
    """Return the port of an asyncio server."""
    return int(server.sockets[0].getsockname()[1])
