"""The Rust half in a real boot: what works and what fails is recorded, and nothing of it fails the mission."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.boot.checks import healthy_remains
from tests.boot.mission import Mission, service
from tests.boot.test_endpoints import boot, spans
from tests.crown.both import gateway
from tests.support.spans import Recorder, recorder
from tests.support.waiting import until_sync

__all__ = ["recorder"]

Make = Callable[..., Mission]


def recorded(one: Mission) -> dict[str, Any]:
    """The state once the boot has ended and both outcomes are in it."""
    one.wait_for_line("INFO Mission demo complete")
    until_sync((one.logs / "razar_state.json").exists)
    until_sync(lambda: one.state.get("core") and one.state["memory"]["layers"])
    return one.state


def warned(one: Mission, words: str) -> bool:
    return any(line.startswith(f"WARN {words}") for line in one.log)


def test_memory_and_core_are_ready(mission: Make) -> None:
    pytest.importorskip("razar._native", reason="the extension is not built")
    one = mission(service("a")).start()
    state = recorded(one)
    assert state["core"] == "ready"
    assert set(state["memory"]["layers"]) >= {"episodic", "semantic", "procedural", "working"}
    assert set(state["memory"]["layers"].values()) == {"ready"}
    assert one.stop() == 0
    healthy_remains(one)


def test_a_boot_that_ends_at_once_has_asked_them(mission: Make) -> None:
    pytest.importorskip("razar._native", reason="the extension is not built")
    one = mission(service("a"))
    assert one.boot() == 0
    assert one.state["core"] == "ready" and set(one.state["memory"]["layers"].values()) == {"ready"}
    healthy_remains(one)


def test_memory_that_cannot_be_opened_is_recorded_and_told(mission: Make) -> None:
    pytest.importorskip("razar._native", reason="the extension is not built")
    one = mission(service("a"))
    (one.logs / "razar_memory.db").mkdir(parents=True)
    one.start()
    state = recorded(one)
    assert state["core"] == "ready" and any(text != "ready" for text in state["memory"]["layers"].values())
    assert warned(one, "Memory layer ") and one.stop() == 0
    healthy_remains(one)


@pytest.mark.parametrize("name", ["razar._native", "neoabzu_core"])
def test_a_boot_without_the_extension_is_told_and_goes_on(mission: Make, name: str) -> None:
    one = mission(service("a"))
    boot(one, traced=False, block=f"sys.modules[{name!r}] = None")
    state = recorded(one)
    assert state["core"].startswith("error: ")
    assert warned(one, "Expression core: error") and one.stop() == 0
    healthy_remains(one)


async def test_the_trace_of_a_boot_goes_on_in_the_gateway(mission: Make, recorder: Recorder) -> None:
    """Two processes: the boot's spans come from its SDK, the gateway's from the one in this process."""
    one = mission(service("a"), crown={"required_model": None})
    async with gateway() as url:
        boot(one, CROWN_WS_URL=url)
        await asyncio.to_thread(one.wait_for_line, "INFO Mission demo complete")
        assert await asyncio.to_thread(one.stop) == 0
        answered = recorder.one("crown.handshake")
    [asked] = [span for span in spans(one) if span["name"] == "razar.handshake"]
    assert answered.context is not None and answered.parent is not None
    assert (answered.context.trace_id, answered.parent.span_id) == (asked["trace"], asked["id"])
