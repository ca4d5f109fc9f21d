"""The schemas and the reference of keys are current, and say what the loader says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from razar.config.reference import write_documentation
from razar.config.schema import (
    boot_config_schema,
    brief_schema,
    documented_fields,
    environments_schema,
    schemas,
)
from razar.config.wire import BootConfigFile, ComponentEntry, Entry

from .strategies import MISSION, changed
from .support import component

ROOT = Path(__file__).parents[2]
BOOT = Draft202012Validator(boot_config_schema())


def test_the_files_in_docs_are_current(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "configuration.md", tmp_path / "docs")
    written = write_documentation(str(tmp_path))
    assert len(written) == 4
    for path in written:
        kept = ROOT / Path(path).relative_to(tmp_path)
        assert kept.read_text() == Path(path).read_text(), "run python -m razar.config.schema"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_they_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


def described(shape: type[Entry]) -> set[str]:
    return {field.name for field in documented_fields(shape) if field.text.endswith((".", ")"))}


@pytest.mark.parametrize("shape", [BootConfigFile, *Entry.__subclasses__()])
def test_every_key_is_described(shape: type[Entry]) -> None:
    assert described(shape) == {field.name for field in msgspec.structs.fields(shape)}


def test_a_key_without_a_text_would_be_noticed() -> None:
    assert "id" in described(ComponentEntry)
    assert documented_fields(ComponentEntry)[0].annotation == "Name"


@pytest.mark.parametrize(
    "value",
    [
        MISSION,
        {"mission": "m", "components": [component()]},
        {"mission": "m", "components": [component(health={"notify": True})]},
        {"mission": "m", "components": [component(health="tcp://${HOST}:${PORT}")]},
        {"mission": "m", "components": [component(health="${PROBE}")]},
    ],
)
def test_sound_missions_pass(value: Any) -> None:
    BOOT.validate(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"health": None},
        {"health": "htp://h"},
        {"health": {}},
        {"health": {"tcp": "h:1", "http": "http://h"}},
        {"health": {"notify": False}},
        {"helth": "notify"},
        {"id": "a/b"},
        {"id": "a\n"},
        {"retries": -1},
        {"restart": {"backoff": "soon"}},
        {"env": {"A=B": "x"}},
        {"depends_on": [{"id": "a", "condition": "done"}]},
        {"entrypoint": []},
    ],
)
def test_faulty_missions_do_not(changes: dict[str, Any]) -> None:
    assert not BOOT.is_valid({"mission": "m", "components": [component(**changes)]})


@settings(derandomize=True, deadline=None, max_examples=100)
@given(changed(MISSION))
def test_what_a_schema_accepts_can_be_decoded(value: Any) -> None:
    if BOOT.is_valid(value):
        # JSON Schema takes 1.0 for a whole number, and so may write it.
        msgspec.convert(value, BootConfigFile, strict=False)


def test_environments_and_briefs() -> None:
    environment = Draft202012Validator(environments_schema())
    entry = {"layer": "core", "python": ">=3.11", "dependencies": ["a"]}
    assert environment.is_valid({"environments": [entry]})
    for wrong in (
        {**entry, "python": 3.11},
        {**entry, "pip": []},
        {"layer": "core"},
        {**entry, "layer": "a/b"},
    ):
        assert not environment.is_valid({"environments": [wrong]})
    brief = Draft202012Validator(brief_schema())
    assert brief.is_valid(
        {"priority_map": {"a": 1}, "open_issues": ["x", {"id": "a", "more": 1}], "other": 5}
    )
    faulty: tuple[Any, ...] = (
        {"priority_map": {"a": "1"}},
        {"open_issues": [{"detail": "x"}]},
        {"objective": 5},
        [],
    )
    assert not any(brief.is_valid(value) for value in faulty)
