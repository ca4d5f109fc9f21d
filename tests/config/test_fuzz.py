"""Whatever a file holds: a mission, or faults; never anything else."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from razar.config.brief import BriefFile, load_brief
from razar.config.collector import Collector
from razar.config.environments import EnvironmentsFile, load_environments
from razar.config.faults import ConfigurationError
from razar.config.load import load_mission
from razar.config.model import MissionConfig
from razar.config.shape import salvage
from razar.config.wire import BootConfigFile

from .strategies import ANY_JSON, MISSION, changed
from .support import ENVIRON

FEW = settings(derandomize=True, deadline=None, max_examples=60)
MANY = settings(derandomize=True, deadline=None, max_examples=120)
BRIEF = {
    "priority_map": {"a": 1},
    "current_status": {"b": "up"},
    "open_issues": ["x", {"id": "a"}],
    "objective": "y",
}
ENVIRONMENTS = {"environments": [{"layer": "core", "python": "3.11", "dependencies": ["a>=1", "b[c]; d"]}]}


def attempt(load: Callable[[str], Any], data: bytes) -> Any:
    """Write a file and load it: the result, or the error, which is sound."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        try:
            return load(str(path))
        except ConfigurationError as caught:
            error = caught
    assert error.faults
    assert str(error)
    assert json.loads(error.to_json())["faults"]
    return error


def outcome(data: bytes) -> Any:
    def load(path: str) -> MissionConfig:
        return load_mission(path, environ=ENVIRON, layers=(), check_expression=lambda *_: None)

    return attempt(load, data)


def check(value: object) -> None:
    result = outcome(json.dumps(value).encode())
    try:
        msgspec.convert(value, BootConfigFile)
    except (msgspec.ValidationError, RecursionError):
        assert isinstance(result, ConfigurationError)


def test_the_base_of_the_changes_is_sound() -> None:
    assert isinstance(outcome(json.dumps(MISSION).encode()), MissionConfig)


@FEW
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b'{"mission":"\\ud83d"}')
def test_any_bytes(data: bytes) -> None:
    assert isinstance(outcome(data), ConfigurationError)


@FEW
@given(st.integers(0, 2000), st.binary(max_size=4), st.integers(0, 10))
def test_sound_bytes_with_a_splice(at: int, patch: bytes, removed: int) -> None:
    data = json.dumps(MISSION).encode()
    outcome(data[:at] + patch + data[at + removed :])


@FEW
@given(ANY_JSON)
def test_any_value(value: Any) -> None:
    check(value)


@MANY
@given(changed(MISSION))
def test_a_sound_mission_with_changes(value: dict[str, Any]) -> None:
    check(value)


@MANY
@given(changed(MISSION))
def test_the_slow_path_agrees_with_the_decoder(value: dict[str, Any]) -> None:
    faults = Collector("f")
    usable = salvage(value, BootConfigFile, faults)
    try:
        expected = msgspec.json.decode(msgspec.json.encode(value), type=BootConfigFile)
    except msgspec.ValidationError:
        assert faults
        return
    assert not faults
    assert usable.mission == expected.mission
    assert msgspec.to_builtins(usable) == msgspec.to_builtins(msgspec.convert(value, BootConfigFile))


@FEW
@given(changed(BRIEF) | ANY_JSON)
def test_briefs(value: Any) -> None:
    brief = attempt(lambda path: load_brief(path, ["a", "b"]), json.dumps(value).encode())
    if not isinstance(brief, ConfigurationError):
        assert brief == value
        msgspec.convert(value, BriefFile)


@FEW
@given(changed(ENVIRONMENTS) | ANY_JSON)
def test_environments(value: Any) -> None:
    specs = attempt(load_environments, json.dumps(value).encode())
    if not isinstance(specs, ConfigurationError):
        assert len(specs) == len(msgspec.convert(value, EnvironmentsFile).environments)


@FEW
@given(
    st.text(st.sampled_from("ab:-[]{}&*!|>'\"#\n\t ,?%@`\\3.10\x01é"), max_size=60) | st.binary(max_size=60)
)
def test_any_yaml(text: str | bytes) -> None:
    specs = attempt(load_environments, text if isinstance(text, bytes) else text.encode())
    assert isinstance(specs, ConfigurationError)
