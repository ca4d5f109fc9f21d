"""Counters and masks of their own for each test."""

from __future__ import annotations

import pytest

from razar import metrics
from razar.utils import redaction


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> metrics.Store:
    """The metrics of one test."""
    fresh = metrics.Store()
    monkeypatch.setattr(metrics, "DEFAULT", fresh)
    return fresh


@pytest.fixture(autouse=True)
def _own_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has masked is not masked in the next."""
    monkeypatch.setattr(redaction, "_of_process", None)
