"""A real boot agrees its mission with either Crown, and keeps to what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.boot.checks import healthy_remains
from tests.boot.mission import Mission, service
from tests.crown.both import CROWNS, Crown

Make = Callable[..., Mission]
TOKEN = "crown-token-1234567"

pytestmark = pytest.mark.parametrize("crown", CROWNS)


async def test_the_mission_it_agrees_to_is_booted(crown: Crown, mission: Make) -> None:
    one = mission(service("a"), service("b"), crown={})
    downtime = {"b": {"reason": "new release", "until": "2999-01-01T00:00:00Z"}}
    async with crown(capabilities=["glm-4.1v-9b-thinking"], downtime=downtime, token=TOKEN) as url:
        await asyncio.to_thread(one.start, CROWN_WS_URL=url, CROWN_TOKEN=TOKEN)
        await asyncio.to_thread(one.wait_for_state, "a", "running")
        await asyncio.to_thread(one.wait_for_state, "b", "held")
        assert await asyncio.to_thread(one.stop) in (0, 143)
    handshake = one.state["handshake"]
    assert (handshake["status"], handshake["acknowledgement"]) == ("ack", "mission demo acknowledged")
    assert handshake["capabilities"] == ["glm-4.1v-9b-thinking"]
    assert handshake["downtime"]["b"]["reason"] == "new release"
    assert one.state["model_launches"] == []
    assert TOKEN not in "".join(path.read_text() for path in one.logs.rglob("*.json*"))
    healthy_remains(one)


async def test_the_mission_it_refuses_is_not(crown: Crown, mission: Make) -> None:
    one = mission(service("a"), crown={})
    async with crown(refuse="drydock") as url:
        assert await asyncio.to_thread(one.boot, CROWN_WS_URL=url) == 3
    assert one.state["handshake"]["status"] == "refused" and "drydock" in one.err
    assert not any(line.startswith("INFO Booting component") for line in one.log)
    healthy_remains(one)
