"""Several missions in one project: each with logs, state and lock of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from razar.utils.places import default_logs
from tests.boot.mission import Mission, service
from tests.support.waiting import until_sync


@pytest.mark.parametrize(
    ("config", "logs"),
    [
        ("", "logs"),
        ("boot_config.json", "logs"),
        ("/srv/stack/boot_config.json", "/srv/stack/logs"),
        ("missions/night.json", "missions/logs/night"),
        ("/srv/missions/night.json", "/srv/missions/logs/night"),
        ("missions/boot_config.json", "missions/logs"),
    ],
)
def test_where_the_logs_of_a_mission_are(config: str, logs: str) -> None:
    assert default_logs(config) == logs


def test_two_missions_of_one_folder_run_side_by_side(tmp_path: Path) -> None:
    one = Mission(tmp_path, service("unused"))
    (tmp_path / "missions").mkdir()
    for name in ("day", "night"):
        config = {"mission": name, "crown": {"policy": "off"}, "components": [service(name)]}
        (tmp_path / "missions" / f"{name}.json").write_text(json.dumps(config))
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "razar.boot_orchestrator", "--mission", name, "-q"],
            cwd=tmp_path,
            env=one.environ(),
        )
        for name in ("day", "night")
    ]
    try:
        for name in ("day", "night"):
            state = tmp_path / "missions" / "logs" / name / "razar_state.json"
            until_sync(lambda state=state: state.exists() and b'"running"' in state.read_bytes())
    finally:
        for process in running:
            os.kill(process.pid, signal.SIGTERM)
    assert [process.wait(60) for process in running] == [0, 0]
