"""The page about the memory says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import neoabzu_memory
from neoabzu_memory import MemoryBundle, fingerprint
from tests.memory.support import run

PAGE = (Path(__file__).parents[2] / "docs" / "memory.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_runs(tmp_path: Path) -> None:
    example = block("python").replace("logs/razar_memory.db", str(tmp_path / "logs" / "memory.db"))
    hit, rest = run(example).splitlines()
    assert hit.startswith("semantic semantic-1 ")
    assert "The router needs the store. {'source': 'runbook'} " in hit
    assert rest.startswith("{} ")


def test_the_failures_that_are_said_to_be_one_are() -> None:
    one, other = block("").splitlines()
    assert one != other and fingerprint("a", "b", one) == fingerprint("a", "b", other)


def test_every_error_and_every_call_is_on_the_page() -> None:
    for name in neoabzu_memory.__all__:
        if name.endswith("Error"):
            assert f"`{name}`" in PAGE, name
    for name in vars(MemoryBundle):
        if not name.startswith("_") and name != "path":
            assert f"`{name}(" in PAGE, name
