"""Missions that end with their test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.boot.mission import Mission


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
