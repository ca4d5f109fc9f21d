"""A real boot of a broken mission: repaired by an agent, then from memory, else left to the operator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.mission import environment
from tests.handover.support import FIX, Server
from tests.handover.test_public import PROGRAM, TESTS, chat
from tests.repair.support import TEST


def mission(root: Path) -> None:
    (root / "src").mkdir()
    (root / "checks").mkdir()
    (root / "src" / "app.py").write_text(PROGRAM)
    (root / "checks" / "try_app.py").write_text(TEST)
    component = {
        "id": "adder",
        "layer": "core",
        "entrypoint": ["python", "-I", "-S", "src/app.py"],
        "health": "log: ready 3",
        "retries": 0,
        "repair": {"paths": ["src/**"], "tests": TESTS},
    }
    config = {"mission": "demo", "crown": {"policy": "off"}, "components": [component]}
    (root / "boot_config.json").write_text(json.dumps(config))


def boot(root: Path, server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in environment().items()
        if not name.startswith(("OPENCODE", "AIRSTAR", "RSTAR"))
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "razar.boot_orchestrator",
            "--mission",
            "demo",
            "--exit-after-boot",
            *arguments,
        ],
        cwd=root,
        env={**kept, "KIMI2_ENDPOINT": server.url, "KIMI2_API_KEY": "the-key-of-kimi-2"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def records(root: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (root / "logs" / "razar_ai_invocations.json").read_text().splitlines()
    ]


def test_an_agent_repairs_it_and_the_next_time_memory_does(tmp_path: Path) -> None:
    pytest.importorskip("neoabzu_memory")
    mission(tmp_path)
    with Server(lambda number, body: chat()) as server:
        first = boot(tmp_path, server)
        assert first.returncode == 0, first.stderr
        assert "Mission demo complete" in first.stdout and len(server.requests) == 1
        assert (tmp_path / "src" / "app.py").read_text() == PROGRAM.replace(*FIX)
        (tmp_path / "src" / "app.py").write_text(PROGRAM)
        second = boot(tmp_path, server)
        assert second.returncode == 0, second.stderr
        assert len(server.requests) == 1  # Nobody was asked again.
    assert [(r["attempt"], r["agent"], r["patched"]) for r in records(tmp_path)] == [
        (1, "kimi2", True),
        (1, "memory", True),
    ]
    assert "the-key-of-kimi-2" not in first.stdout + first.stderr + second.stdout + second.stderr


def test_what_nobody_can_repair_is_quarantined_with_a_packet(tmp_path: Path) -> None:
    mission(tmp_path)
    with Server(lambda number, body: (503, {})) as server:
        done = boot(tmp_path, server, "--remote-attempts", "1")
        assert done.returncode == 1 and len(server.requests) == 1
    (packet,) = (tmp_path / "logs" / "repairs").glob("packet-adder-*")
    assert packet.name in done.stderr and sorted(os.listdir(packet)) == ["packet.json", "packet.md"]
    assert (tmp_path / "src" / "app.py").read_text() == PROGRAM
    assert [r["event"] for r in records(tmp_path)] == ["attempt", "exhausted"]
    state = json.loads((tmp_path / "logs" / "razar_state.json").read_text())
    assert state["quarantine"] == ["adder"]
