"""Missions on disk for the configuration's tests, and what is found wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from razar.config.faults import ConfigurationError, Fault
from razar.config.load import load_mission
from razar.config.model import Component, MissionConfig

__all__ = ["ENVIRON", "Check", "component", "faults_of", "load", "load_one", "only_fault", "write"]

#: The environment the tests' files see; sh is in /bin everywhere.
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/home/someone", "EMPTY": "", "PORT": "8123"}

Check = Callable[[str, Sequence[str]], object]


def component(**changes: Any) -> dict[str, Any]:
    """Return a sound component, as the file holds it, with changes; None takes a key out."""
    entry = {"id": "a", "layer": "core", "entrypoint": "python app.py", "health": "notify", **changes}
    return {key: value for key, value in entry.items() if value is not None}


def write(folder: Path, value: object, name: str = "boot_config.json") -> str:
    """Write a file (bytes and texts as they are, anything else as JSON) and return its path."""
    path = folder / name
    data = value if isinstance(value, (bytes, str)) else json.dumps(value, indent=2)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def load(
    folder: Path,
    *components: object,
    environ: Mapping[str, str] = ENVIRON,
    layers: Collection[str] | None = (),
    check_expression: Check | None = None,
    **settings: object,
) -> MissionConfig:
    """Write a mission of these components and load it."""
    path = write(folder, {"mission": "demo", "components": components or [component()], **settings})
    return load_mission(path, environ=environ, layers=layers, check_expression=check_expression)


def load_one(folder: Path, **changes: Any) -> Component:
    """Load a mission of one component with changes and return the component."""
    return load(folder, component(**changes)).components[0]


def faults_of(call: Callable[[], object]) -> tuple[Fault, ...]:
    """Return the faults that a call raises."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert caught.value.faults
    return caught.value.faults


def only_fault(call: Callable[[], object]) -> Fault:
    """Return the one fault that a call raises."""
    faults = faults_of(call)
    assert len(faults) == 1, [str(fault) for fault in faults]
    return faults[0]
