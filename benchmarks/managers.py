"""How each measured manager is configured and started on the same components."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Load:
    """N components on consecutive ports, each listening ``ready_ms`` after its start."""

    count: int
    ready_ms: int
    parallel: bool
    ports: list[int]
    component: Path
    socket: Path

    def argv(self, index: int) -> list[str]:
        """The command line of one component."""
        return [str(self.component), str(self.ports[index]), str(self.ready_ms), str(self.socket), str(index)]


def razar(load: Load, folder: Path, *, crown: str, changes: Mapping[str, Any] | None = None) -> list[str]:
    """RAZAR: HTTP readiness, environments none; ``crown`` is the policy (``off`` or ``required``).

    ``changes`` are further settings of every component; those of ``health`` go with its URL.
    """
    further = dict(changes or {})
    health = further.pop("health", {})
    components = [
        {
            "id": f"c{index}",
            "layer": "bench",
            "entrypoint": load.argv(index),
            "health": {"http": url, **health} if health else url,
            **further,
        }
        for index, url in enumerate(f"http://127.0.0.1:{port}/healthz" for port in load.ports)
    ]
    config = {
        "mission": "bench",
        "ignition": "parallel" if load.parallel else "sequential",
        "crown": {"policy": crown, "required_model": None},
        "components": components,
    }
    (folder / "boot_config.json").write_text(json.dumps(config))
    return [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "bench", "-q"]


def supervisord(load: Load, folder: Path, *, binary: str) -> list[str]:
    """supervisord: starts all at once in the order of priority, asks nobody anything."""
    lines = [
        "[supervisord]",
        "nodaemon=true",
        f"logfile={folder}/supervisord.log",
        f"pidfile={folder}/supervisord.pid",
        f"childlogdir={folder}",
        "user=root" if os.getuid() == 0 else "",
    ]
    for index in range(load.count):
        lines += [
            f"[program:c{index}]",
            f"command={' '.join(load.argv(index))}",
            f"priority={index}",
            "startsecs=1",
            f"stdout_logfile={folder}/c{index}.log",
            "redirect_stderr=true",
        ]
    (folder / "supervisord.conf").write_text("\n".join(lines) + "\n")
    return [binary, "-c", str(folder / "supervisord.conf")]


def circus(load: Load, folder: Path, *, binary: str) -> list[str]:
    """circus: starts watchers by priority without warm-up delay, asks nobody anything."""
    lines = [
        "[circus]",
        f"endpoint = ipc://{folder}/endpoint",
        f"pubsub_endpoint = ipc://{folder}/pubsub",
        "warmup_delay = 0",
    ]
    for index in range(load.count):
        program, *arguments = load.argv(index)
        lines += [
            f"[watcher:c{index}]",
            f"cmd = {program}",
            f"args = {' '.join(arguments)}",
            f"priority = {load.count - index}",
            "numprocesses = 1",
            "warmup_delay = 0",
            "copy_env = True",
        ]
    (folder / "circus.ini").write_text("\n".join(lines) + "\n")
    return [binary, str(folder / "circus.ini")]
