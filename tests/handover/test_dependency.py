"""A missing dependency goes into razar_env.yaml, and comes out again to the byte if that did not help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.razar.handover import Exhausted
from agents.razar.patching import journal
from razar.config.model import RepairSettings
from tests.handover.support import Agent, FileMemory, House, Server, failure

LAYERS = "# by hand\nenvironments:\n  - layer: core\n    python: '>=3.11'\n    dependencies:\n      - rich  # why\n"
WITH = LAYERS.replace("# why\n", "# why\n      - httpx\n")
TAIL = (
    "Traceback (most recent call last):",
    '  File "src/app.py", line 1',
    "ModuleNotFoundError: No module named 'httpx'",
)


def house_with_layers(folder: Path, *, approval: Any = "auto", text: str = LAYERS) -> House:
    house = House(folder)
    (component,) = house.config.components
    assert component.repair is not None
    repair = msgspec.structs.replace(component.repair, approval=approval)
    component = msgspec.structs.replace(component, repair=repair)
    house.config = msgspec.structs.replace(house.config, components=(component,))
    (house.root / "razar_env.yaml").write_text(text)
    (house.root / "razar_env.yaml").chmod(0o604)
    return house


async def test_it_is_added_before_anybody_is_asked_and_the_layer_is_named(tmp_path: Path) -> None:
    house, memory = house_with_layers(tmp_path), FileMemory(tmp_path / "memory.json")
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        attempt = await handovers.attempt(failure(tail=TAIL))
        assert attempt and (attempt.agent, attempt.rebuild_layer) == ("local", "core")
        assert (house.root / "razar_env.yaml").read_text() == WITH
        assert "+      - httpx" in attempt.diff
        await handovers.settle(attempt, True)
        assert server.requests == []
    assert (house.root / "razar_env.yaml").read_text() == WITH
    assert house.records()[0]["agent"] == "local" and house.records()[0]["patched"] is True
    (patch,) = house.records("razar_ai_patches.json")
    assert (
        patch["status"] == "applied"
        and patch["agent"] == "local"
        and patch["files"][0]["path"] == "razar_env.yaml"
    )
    ((entry,),) = memory._load().values()
    assert entry["repair"] == {"kind": "dependency", "layer": "core", "package": "httpx"}


async def test_if_it_does_not_help_the_bytes_and_the_mode_come_back_and_agents_are_asked(
    tmp_path: Path,
) -> None:
    house = house_with_layers(tmp_path)
    with Server(lambda number, body: (503, {})) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure(tail=TAIL))
        await handovers.settle(attempt, False, "exited with 1")
        path = house.root / "razar_env.yaml"
        assert path.read_text() == LAYERS and path.stat().st_mode & 0o777 == 0o604
        assert (await handovers.attempt(failure(tail=TAIL))).agent == "kimi2"
        # Another process does not try the same again either.
        attempt = await house.handovers(Agent("kimi2", server.url)).attempt(failure(tail=TAIL))
        assert attempt.agent == "kimi2"


async def test_it_is_remembered(tmp_path: Path) -> None:
    house, memory = house_with_layers(tmp_path), FileMemory(tmp_path / "memory.json")
    handovers = house.handovers(memory=lambda: memory)
    await handovers.settle(await handovers.attempt(failure(tail=TAIL)), True)
    (house.root / "razar_env.yaml").write_text(LAYERS)
    handovers = house.handovers(memory=lambda: memory)
    attempt = await handovers.attempt(failure(tail=TAIL, at=2.0))
    assert attempt and (attempt.agent, attempt.rebuild_layer) == ("memory", "core")


@pytest.mark.parametrize("approval", ["ask", "never"])
async def test_the_approval_is_respected(tmp_path: Path, approval: str) -> None:
    from agents.razar.code_repair import approve

    house = house_with_layers(tmp_path, approval=approval)
    handovers = house.handovers()
    attempt = await handovers.attempt(failure(tail=TAIL))
    assert (
        attempt.outcome == "proposed" and "+      - httpx" in attempt.diff and attempt.rebuild_layer is None
    )
    assert (house.root / "razar_env.yaml").read_text() == LAYERS
    with pytest.raises(Exhausted, match=str(attempt.patch_id)):
        await handovers.attempt(failure(tail=TAIL))
    if approval == "ask":
        approve(str(attempt.patch_id), logs=str(house.logs))
        assert (house.root / "razar_env.yaml").read_text() == WITH


@pytest.mark.parametrize(
    ("mission", "outcome"), [(None, "proposed"), ("auto", "applied"), ("never", "proposed")]
)
async def test_a_component_that_allows_nothing_is_as_the_mission_says(
    tmp_path: Path, mission: Any, outcome: str
) -> None:
    house = house_with_layers(tmp_path)
    (component,) = house.config.components
    config = msgspec.structs.replace(
        house.config,
        components=(msgspec.structs.replace(component, repair=None),),
        repair=RepairSettings(approval=mission),
    )
    handovers = house.handovers(config=config)
    attempt = await handovers.attempt(failure(tail=TAIL))
    assert attempt.outcome == outcome
    await handovers.close()


@pytest.mark.parametrize(
    ("text", "tail", "why"),
    [
        (LAYERS, "ModuleNotFoundError: No module named 'evil_package_of_a_log'", "no table knows it"),
        (WITH, TAIL[-1], "already listed"),
        ("environments:\n  - layer: other\n    python: '3.11'\n", TAIL[-1], "no layer core"),
        ("a: [", TAIL[-1], "no valid YAML"),
        ("", TAIL[-1], "no list"),
    ],
)
async def test_what_cannot_be_added_is_told_and_agents_are_asked(
    tmp_path: Path, text: str, tail: str, why: str
) -> None:
    house = house_with_layers(tmp_path, text=text)
    with Server(lambda number, body: (503, {})) as server:
        attempt = await house.handovers(Agent("kimi2", server.url)).attempt(failure(tail=(*TAIL[:2], tail)))
    assert attempt.agent == "kimi2"
    assert any(why in said for _, said in house.said)
    assert (house.root / "razar_env.yaml").read_text() == text
    assert not house.records("razar_ai_patches.json")


async def test_a_crash_before_it_was_proven_undoes_it(tmp_path: Path) -> None:
    house = house_with_layers(tmp_path)
    attempt = await house.handovers().attempt(failure(tail=TAIL))
    assert house.handovers().recover() == [attempt.patch_id]
    assert (house.root / "razar_env.yaml").read_text() == LAYERS
    assert journal.state_of(str(house.logs), str(attempt.patch_id)) == "rolled_back"
    assert house.records()[-1]["patched"] is False and house.records()[-1]["agent"] == "local"
