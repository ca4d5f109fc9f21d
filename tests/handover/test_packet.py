"""What is left for the operator, and the spans of a repair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agents.razar.handover import Exhausted
from tests.handover.support import APP, Agent, House, Server, edit, failure, proposal


async def test_the_packet_holds_everything_that_was_tried(tmp_path: Path) -> None:
    house = House(tmp_path)
    answers: list[Any] = [
        (503, {}),
        msgspec.to_builtins(proposal(edit(new="    return a * b * 100\n"))),
        msgspec.to_builtins(proposal()),
    ]
    log = house.logs / "components" / "adder" / "current.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\n`` `rm -rf` ``` | <b>\nAssertionError: add gave -1\n")
    with Server(lambda number, body: answers[number - 1]) as server:
        handovers = house.handovers(Agent("kimi2", server.url), attempts=3)
        for _ in answers:
            attempt = await handovers.attempt(failure(error="exited | with `1`\nand more", tail=()))
            if attempt:
                await handovers.settle(attempt, False, "exited with 1")
        with pytest.raises(Exhausted):
            await handovers.attempt(failure(error="exited | with `1`\nand more", tail=()))
    folder = Path(handovers.packet("adder"))
    assert folder.parent == house.logs / "repairs" and folder.name.startswith("packet-adder-")
    packet = json.loads((folder / "packet.json").read_text())
    assert (packet["mission"], packet["component"], packet["class"]) == ("demo", "adder", "logic")
    assert [a["attempt"] for a in packet["attempts"]] == [1, 2, 3] and not any(
        a["patched"] for a in packet["attempts"]
    )
    assert [p["status"] for p in packet["patches"]] == ["rejected", "applied", "rolled_back"]
    assert "+    return a * b * 100" in packet["patches"][0]["diff"]
    assert [h["outcome"] for h in packet["handovers"]] == ["failed", "answered", "answered"]
    assert all(h["given"] and h["endpoint"] == server.url for h in packet["handovers"])
    assert packet["budget"]["used"]["requests"] == 3 and packet["budget"]["limits"]["requests"] == 60
    assert packet["protection"]["mode"] in ("bubblewrap", "namespaces", "landlock", "limits")
    assert packet["log"][0] == "one"
    text = (folder / "packet.md").read_text()
    for part in (
        "# adder could not be repaired", "kimi2 has no capacity", "+    return a * b * 100", "exited with 1",
        "razar quarantine release adder", server.url, "3 of 60 requests", "AssertionError: add gave -1",
    ):  # fmt: skip
        assert part in text, part
    # What strangers wrote ends no fence and no cell.
    fences = [line for line in text.splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {7}
    assert (folder / "packet.json").stat().st_mode & 0o777 == 0o640
    second = Path(handovers.packet("adder"))
    assert second != folder and house.handovers().recover() == [] and folder.exists() and second.exists()


async def test_a_packet_of_a_failure_that_nobody_was_asked_about(tmp_path: Path) -> None:
    house = House(tmp_path)
    handovers = house.handovers()
    with pytest.raises(Exhausted):
        await handovers.attempt(
            failure(error="exited with 1", tail=("OSError: [Errno 98] Address already in use",))
        )
    text = (Path(handovers.packet("adder")) / "packet.md").read_text()
    assert "Class port" in text and "Nothing: no agent was asked." in text and "No patch was tested." in text


@pytest.mark.parametrize(("approval", "waits"), [("ask", True), ("never", False)])
async def test_the_packet_names_what_can_be_approved(tmp_path: Path, approval: Any, waits: bool) -> None:
    scope = msgspec.structs.replace(House(tmp_path).scope, approval=approval)
    house = House(tmp_path / "second", scope=scope)
    with Server(lambda number, body: msgspec.to_builtins(proposal())) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        attempt = await handovers.attempt(failure())
        with pytest.raises(Exhausted) as end:
            await handovers.attempt(failure())
    text = (Path(handovers.packet("adder")) / "packet.md").read_text()
    assert (f"razar repairs show {attempt.patch_id}" in text) == waits
    assert ("razar repairs show" in end.value.reason) == waits and str(attempt.patch_id) in end.value.reason


async def test_what_left_the_machine_is_on_record_before_and_after(tmp_path: Path) -> None:
    house = House(tmp_path)
    reports = house.logs / "repairs" / "handovers"
    seen: list[dict[str, Any]] = []

    def answer(number: int, body: Any) -> Any:
        seen.extend(json.loads(path.read_text()) for path in reports.glob("*.json"))
        return msgspec.to_builtins(proposal())

    with Server(answer) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        await handovers.attempt(failure())
        await handovers.close()
    (before,) = seen
    (after,) = [json.loads(path.read_text()) for path in reports.glob("*.json")]
    assert before["outcome"] == "under way" and before["ended"] is None and before["given"] == after["given"]
    assert after["outcome"] == "answered" and after["agent"] == "kimi2" and after["endpoint"] == server.url
    what = {part["what"]: part for part in after["given"]}
    assert {"instructions", "error", "last lines of the log", "file src/app.py"} <= set(what)
    assert what["file src/app.py"]["size"] == len(APP) and len(what["file src/app.py"]["sha256"]) == 64
    assert [part["what"] for part in after["sent"]] == ["request"]


async def test_nothing_leaves_if_that_cannot_be_put_on_record(tmp_path: Path) -> None:
    house = House(tmp_path)
    (house.logs / "repairs").mkdir(parents=True)
    (house.logs / "repairs" / "handovers").write_text("a file in its place")
    with Server() as server:
        with pytest.raises(OSError, match="handovers"):
            await house.handovers(Agent("kimi2", server.url)).attempt(failure())
        assert server.requests == []
    assert house.app.read_text() == APP


async def test_handover_and_patch_are_spans_and_the_trace_travels(tmp_path: Path) -> None:
    from razar.tracing import BootTrace, Tracer

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = Tracer(enabled=True)
    tracer._tracer = provider.get_tracer("razar")
    trace = BootTrace(tracer, "demo", "boot-1")
    house = House(tmp_path)
    with Server() as server:
        handovers = house.handovers(Agent("kimi2", server.url), span=trace.child)
        await handovers.settle(await handovers.attempt(failure()), True)
    trace.close("complete")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    handover, patch = spans["razar.handover"], spans["razar.patch"]
    assert handover.attributes is not None and patch.attributes is not None
    assert handover.attributes["razar.component"] == "adder" and handover.attributes["razar.agent"] == "kimi2"
    assert handover.attributes["razar.outcome"] == "applied"
    assert patch.parent is not None and patch.parent.span_id == handover.context.span_id
    assert patch.attributes["razar.outcome"] == "applied" and patch.attributes["razar.agent"] == "kimi2"
    task = json.loads(server.requests[0].partition(b"\n\n")[2])
    assert task["traceparent"].split("-")[2] == f"{handover.context.span_id:016x}"
