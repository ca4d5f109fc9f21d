"""Missions that end with their test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.mission import Mission, service
from tests.recovery.support import broken


@pytest.fixture
def missions() -> Iterator[list[Mission]]:
    """Whatever a test starts is stopped."""
    started: list[Mission] = []
    yield started
    for mission in started:
        if mission.process is not None and mission.process.poll() is None:
            mission.process.kill()
            mission.process.wait()
            mission.boot("--no-repair")  # Ends what the killed one left behind.


@pytest.fixture
def degradable(tmp_path: Path, missions: list[Mission]) -> Mission:
    """A mission that goes on without its broken service."""
    mission = Mission(tmp_path, broken(tmp_path, criticality="optional"), service("other"))
    missions.append(mission)
    return mission
