"""One attempt after the other: what is applied, what is recorded, who is asked."""

from __future__ import annotations

from pathlib import Path

from tests.handover.support import FIXED, Agent, House, Server, failure


async def test_a_patch_that_holds_is_kept_and_recorded(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure(), {"history": []})
        assert attempt, attempt.reason
        assert house.app.read_text() == FIXED
        assert (attempt.number, attempt.agent, attempt.outcome) == (1, "kimi2", "applied")
        assert house.records() == []
        await handovers.settle(attempt, True)
    (record,) = house.records()
    assert record["patched"] is True and record["status"] == "success"
    assert record["agent"] == "kimi2" and record["agent_original"] == "Kimi2"
    assert record["patch_id"] == attempt.patch_id and record["tokens"] == 100
    assert house.app.read_text() == FIXED
    assert len(server.requests) == 1
