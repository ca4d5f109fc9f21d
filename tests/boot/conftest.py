"""Fixtures: a maker of missions that leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.boot.mission import Mission


@pytest.fixture
def mission(tmp_path: Path) -> Iterator[Callable[..., Mission]]:
    """Make a mission; whatever of it still runs afterwards is killed, and only that."""
    made: list[Mission] = []

    def make(*components: dict[str, Any], **settings: Any) -> Mission:
        one = Mission(tmp_path, *components, **settings)
        made.append(one)
        return one

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        for pid in one.processes():
            with suppress(ProcessLookupError):  # It ended in this instant.
                os.kill(pid, signal.SIGKILL)
