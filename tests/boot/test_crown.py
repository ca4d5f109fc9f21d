"""Crown in a real boot: policies, downtime, the embedded Crown, briefs, tokens, the model launcher."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from razar.crown_embedded import embedded_crown
from tests.boot.checks import healthy_remains, holding
from tests.boot.mission import Mission, script, service
from tests.crown.support import YES, brief_of, frame, listening, upgrade
from tests.support.ports import free_port
from tests.support.waiting import until_sync

Make = Callable[..., Mission]
TOKEN = "crown-token-1234567"


@asynccontextmanager
async def crown(heard: list[Any], **answer: Any) -> AsyncIterator[str]:
    """A Crown that says yes, and keeps what it heard: the head of the request, then the brief."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await upgrade(reader, writer)).decode())
        heard.append(await brief_of(reader))
        writer.write(frame(json.dumps({**YES, **answer})))
        await writer.drain()
        await reader.read(1)

    async with listening(peer) as port:
        yield f"ws://127.0.0.1:{port}/"


@pytest.mark.parametrize(("policy", "code"), [("required", 3), ("optional", 0), ("off", 0)])
def test_the_policy_decides_what_an_absent_crown_means(mission: Make, policy: str, code: int) -> None:
    settings = {"policy": policy, "url": f"ws://127.0.0.1:{free_port()}", "required_model": None}
    one = mission(service("a"), crown=settings)
    assert one.boot() == code
    assert one.state["handshake"]["status"] == ("offline" if policy == "off" else "unreachable")
    assert any(line.startswith("WARN Crown unreachable") for line in one.log) == (policy == "optional")
    assert ("INFO Health check passed for a" in one.log) == (code == 0)
    assert (one.logs / "mission_briefs").exists() == (policy != "off")
    healthy_remains(one)


def test_without_a_url_the_embedded_crown_agrees(mission: Make) -> None:
    one = mission(service("a"), crown={"required_model": None})
    assert one.boot() == 0
    handshake = one.state["handshake"]
    assert handshake["status"] == "ack" and handshake["crown_version"].endswith("+embedded")
    assert any(line.startswith("INFO Crown ") and "agreed to mission demo" in line for line in one.log)
    assert one.boot(SERVANT_MODELS="glm-4.1v-9b-thinking=http://127.0.0.1:1/") == 0
    assert one.state["handshake"]["capabilities"] == ["glm-4.1v-9b-thinking"]
    healthy_remains(one)


async def test_the_brief_is_made_from_the_plan_the_state_and_the_quarantine(mission: Make) -> None:
    one = mission(service("a"), script("b", "exit 3", retries=0, criticality="optional"))
    heard: list[Any] = []
    async with crown(heard) as url:
        for _ in range(2):
            assert await asyncio.to_thread(one.boot, CROWN_WS_URL=url) == 0  # The policy is still off.
        one = mission(service("a"), script("b", "exit 3", retries=0, criticality="optional"), crown={})
        for _ in range(2):
            assert await asyncio.to_thread(one.boot, CROWN_WS_URL=url, CROWN_TOKEN=TOKEN) == 0
    assert len(heard) == 4
    head, brief = heard[2:]
    assert f"Authorization: Bearer {TOKEN}" in head and "razar.crown.v1" in head
    assert brief["type"] == "mission_brief" and brief["version"] == 1 and brief["mission"] == "demo"
    assert set(brief["priority_map"]) == {"a", "b"} and set(brief["current_status"]) == {"a", "b"}
    assert brief["current_status"]["b"] == "quarantined"
    assert [issue["id"] for issue in brief["open_issues"]] == ["b"]
    assert holding(one, TOKEN) == []
    healthy_remains(one)


async def test_a_brief_of_ones_own_is_what_is_sent_and_every_brief_is_kept(mission: Make) -> None:
    one = mission(service("a"), crown={})
    own = {"priority_map": {"a": 7}, "objective": "serve", "ship": {"name": "x"}}
    (one.folder / "brief.json").write_text(json.dumps(own))
    heard: list[Any] = []
    async with crown(heard) as url:
        # As quickly as it goes, so that some of them begin in the same second.
        for _ in range(3):
            assert await asyncio.to_thread(one.boot, "--brief", "brief.json", CROWN_WS_URL=url) == 0
    sent = heard[1::2]
    assert len(sent) == 3 and all(own.items() <= brief.items() for brief in sent)
    names = sorted(path.name for path in (one.logs / "mission_briefs").iterdir())
    assert len(names) == 6
    archived = [
        json.loads((one.logs / "mission_briefs" / name).read_text()) for name in names if "_resp" not in name
    ]
    assert {brief["boot_id"] for brief in archived} == {brief["boot_id"] for brief in sent}
    times = {name.removeprefix("demo_")[:20] for name in names}
    assert all(time.strptime(text, "%Y-%m-%dT%H-%M-%SZ") for text in times)
    healthy_remains(one)


#: For the supervisor it is an hour later once there is a file named later.
CLOCK = """
import os, time
from razar import runtime
now = time.time
time.time = lambda: now() + 3600 * os.path.exists("later")
runtime.HOLD_LOOK = 0.01
"""


async def test_a_component_in_downtime_is_held_and_ignites_when_it_is_over(mission: Make) -> None:
    one = mission(service("a"), service("b", depends_on=["a"]), service("c"), crown={"required_model": None})
    one.program(CLOCK)
    downtime = {"a": {"reason": "new release", "until": time.time() + 1800}}
    async with crown([], downtime=downtime) as url:
        await asyncio.to_thread(one.start, CROWN_WS_URL=url)
        await asyncio.to_thread(one.wait_for_state, "c", "running")
        assert one.component("a")["state"] == "held"
        (one.folder / "later").touch()
        await asyncio.to_thread(one.wait_for_state, "a", "running")
        await asyncio.to_thread(one.wait_for_state, "b", "running")
        assert await asyncio.to_thread(one.stop) == 0
    journal = (one.logs / "razar_journal.jsonl").read_text()
    assert "new release" in journal
    began = [line for line in one.log if line.startswith("INFO Booting component")]
    assert began == [f"INFO Booting component {id}" for id in ("c", "a", "b")]
    healthy_remains(one)


async def test_a_component_in_downtime_without_an_end_is_held_with_its_dependants(mission: Make) -> None:
    one = mission(service("a"), service("b", depends_on=["a"]), service("c"), crown={"required_model": None})
    async with embedded_crown(
        downtime={"a": {"reason": "new release"}, "z": {"reason": "?"}}, token=None
    ) as server:
        await asyncio.to_thread(one.start, CROWN_WS_URL=server.url)
        await asyncio.to_thread(one.wait_for_state, "c", "running")
        held = await asyncio.to_thread(one.wait_for_state, "a", "held")
        assert "new release" in held["error"]
        assert one.component("b")["state"] in ("held", "blocked", "pending")
        await asyncio.to_thread(one.stop)
    assert any(line.startswith("WARN Crown: ") and "z" in line for line in one.log)
    assert one.state["handshake"]["downtime"]["a"]["reason"] == "new release"
    healthy_remains(one)


LAUNCHER = "#!/bin/sh\necho asked for $1\nenv | grep CROWN_TOKEN\n%s\n"


def launcher(one: Mission, text: str) -> Path:
    path = one.folder / "launcher.sh"
    path.write_text(LAUNCHER % text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "status", "level"),
    [
        ("exit 0", "launched", "INFO"),
        ("echo neither vllm nor docker is installed >&2; exit 69", "unavailable", "INFO"),
        ("exit 1", "failed", "WARN"),
    ],
)
def test_a_model_that_crown_does_not_offer_is_launched_beside_the_boot(
    mission: Make, text: str, status: str, level: str
) -> None:
    one = mission(service("a"), crown={"model_launcher": "launcher.sh"})
    # It ends only after the boot has: a boot that waited for it would never end.
    launcher(
        one,
        f"while ! grep -q 'Mission demo complete' logs/boot_orchestrator.log; do sleep 0.02; done; {text}",
    )
    one.start()
    launched = until_sync(
        lambda: one.process and (one.logs / "razar_state.json").exists() and one.state["model_launches"], 20
    )
    assert one.stop() == 0
    [entry] = launched
    assert entry["model"] == "GLM-4.1V" and entry["status"] == status
    assert entry["returncode"] == {"launched": 0, "unavailable": 69, "failed": 1}[status]
    assert "asked for GLM-4.1V" in Path(entry["log"]).read_text()
    assert any(line.startswith(f"{level} Model GLM-4.1V {status}") for line in one.log)
    assert one.state["model_launches"] == launched
    healthy_remains(one)


async def test_a_model_that_crown_offers_is_not_launched(mission: Make) -> None:
    one = mission(service("a"), crown={"model_launcher": "launcher.sh"})
    launcher(one, "touch launched")
    heard: list[Any] = []
    async with crown(heard, capabilities=["glm-4.1v-9b-thinking"]) as url:
        assert await asyncio.to_thread(one.boot, CROWN_WS_URL=url) == 0
    assert one.state["model_launches"] == [] and not (one.folder / "launched").exists()
    assert one.state["handshake"] == {
        "status": "ack",
        "crown_version": "1.4",
        "acknowledgement": "mission accepted",
        "capabilities": ["glm-4.1v-9b-thinking"],
        "downtime": {},
    }
    assert one.component("a")["state"] == "stopped"


def test_a_launcher_that_is_still_at_work_ends_with_the_mission(mission: Make) -> None:
    one = mission(service("a"), crown={"model_launcher": "launcher.sh"})
    launcher(one, "touch begun; sleep 1000")
    one.start()
    until_sync(lambda: (one.folder / "begun").exists())
    one.wait_for_line("INFO Mission demo complete")
    assert one.stop() == 0
    healthy_remains(one)


async def test_conditions_see_the_capabilities_of_crown(mission: Make) -> None:
    components = [
        service("a", when="'GLM-4.1V' in crown.capabilities"),
        service("b", when="'other' in crown.capabilities"),
        service("c", when="mission == 'demo' && layer == 'core'"),
    ]
    heard: list[Any] = []
    async with crown(heard) as url:
        one = mission(*components, crown={"url": url})
        assert await asyncio.to_thread(one.boot) == 0
    assert [one.component(id)["state"] for id in "abc"] == ["stopped", "skipped", "stopped"]
