"""A mission to look at, shared by all tests, and one to do things to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.mission import Folder, running


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A running mission that no test changes."""
    with running(tmp_path_factory.mktemp("mission")) as folder:
        yield folder


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Folder]:
    """A running mission for one test."""
    with running(tmp_path) as folder:
        yield folder
