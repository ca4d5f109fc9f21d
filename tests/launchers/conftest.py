"""A launcher whose components are all gone after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from razar.launchers.local import LocalLauncher
from tests.support.components import Events
from tests.support.waiting import until


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def launcher(events: Events) -> AsyncIterator[LocalLauncher]:
    launcher = LocalLauncher(events)
    yield launcher
    for component, incarnation in list(launcher._living.items()):
        launcher.kill(component, incarnation.number)
    await until(lambda: not launcher._living)
    await launcher.close()
