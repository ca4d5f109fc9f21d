"""Spans, collected by the SDK's exporter; and their absence."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from razar import tracing
from razar.engine import events
from razar.tracing import NO_SPAN, BootTrace, Tracer, wanted

from .support import BEGAN, Story, component


class Recorder:
    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def one(self, name: str, **attributes: object) -> ReadableSpan:
        (span,) = [
            span
            for span in self.spans()
            if span.name == name
            and all((span.attributes or {}).get(f"razar.{key}") == value for key, value in attributes.items())
        ]
        return span


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Recorder(exporter)
    provider.shutdown()


def _parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def _id(span: ReadableSpan) -> int:
    return span.context.span_id


def test_one_boot_is_one_trace_with_the_right_parents(recorder: Recorder) -> None:
    boot = BootTrace(Tracer(), "demo", "boot-1", at=BEGAN)
    boot.phase("environments", BEGAN)
    environment = boot.child(tracing.ENVIRONMENT, layer="core")
    environment.end()
    boot.phase("crown", BEGAN)
    for name in (tracing.HANDSHAKE, tracing.MEMORY, tracing.CORE):
        boot.child(name).end()
    boot.phase("ignition", BEGAN)
    story = Story(component("good"), component("bad", retries=0), ignition="sequential").begin()
    story.prove("good", 0.25).spawn("bad").exit("bad", 1)
    story.tell(boot)
    handover = boot.child(tracing.HANDOVER, agent="kimi2")
    boot.child(tracing.PATCH, handover).end()
    handover.end()
    boot.close()

    root = recorder.one("razar.boot")
    assert root.parent is None
    assert len({span.context.trace_id for span in recorder.spans()}) == 1
    phases = {name: recorder.one("razar.phase", phase=name) for name in ("environments", "crown", "ignition")}
    assert {_parent(span) for span in phases.values()} == {_id(root)}
    assert _parent(recorder.one("razar.environment", layer="core")) == _id(phases["environments"])
    for name in ("razar.handshake", "razar.memory", "razar.core_evaluation"):
        assert _parent(recorder.one(name)) == _id(phases["crown"])
    for id in ("good", "bad"):
        ignition = recorder.one("razar.ignition", component=id)
        assert _parent(ignition) == _id(phases["ignition"])
        assert _parent(recorder.one("razar.probe_wait", component=id)) == _id(ignition)
    assert _parent(recorder.one("razar.handover")) == _id(root)
    assert _parent(recorder.one("razar.patch")) == _id(recorder.one("razar.handover"))


def test_times_outcomes_and_attributes_come_from_the_facts(recorder: Recorder) -> None:
    boot = BootTrace(Tracer(), "demo", "boot-1", at=BEGAN)
    story = Story(component("good"), component("bad", retries=0)).begin()
    story.prove("good", 0.25).spawn("bad", 99).exit("bad", 1)
    story.tell(boot)
    good = recorder.one("razar.ignition", component="good")
    assert good.start_time == int(BEGAN * 1e9) and good.end_time == int((BEGAN + 0.25) * 1e9)
    assert dict(good.attributes or {}) == {
        "razar.component": "good",
        "razar.layer": "core",
        "razar.incarnation": 1,
        "razar.outcome": "running",
        "process.pid": 4711,
    }
    assert good.status.status_code is StatusCode.UNSET
    bad = recorder.one("razar.ignition", component="bad")
    assert bad.status.status_code is StatusCode.ERROR
    assert bad.status.description == "exited with code 1 before it was healthy"
    root = recorder.one("razar.boot")
    assert (root.attributes or {})["razar.outcome"] == "failed" and root.end_time == int((BEGAN + 1.25) * 1e9)
    assert (root.attributes or {})["razar.boot_id"] == "boot-1"
    assert root.status.status_code is StatusCode.ERROR


def test_a_restart_after_the_boot_is_a_trace_of_its_own_linked_to_it(recorder: Recorder) -> None:
    boot = BootTrace(Tracer(), "demo", "boot-1", at=BEGAN)
    story = Story(component("a")).begin().prove("a").exit("a", 1).timer("a", "backoff", 1.0).prove("a")
    story.tell(boot)
    root = recorder.one("razar.boot")
    again = recorder.one("razar.ignition", incarnation=2)
    assert again.parent is None and again.context.trace_id != root.context.trace_id
    assert [link.context.span_id for link in again.links] == [_id(root)]


def test_a_boot_that_is_interrupted_ends_every_span(recorder: Recorder) -> None:
    boot = BootTrace(Tracer(), "demo", "boot-1", at=BEGAN)
    boot.phase("ignition", BEGAN)
    Story(component("a")).begin().spawn("a").tell(boot)
    boot.close("interrupted", "SIGINT", BEGAN + 5)
    boot.close()
    assert sorted(span.name for span in recorder.spans()) == [
        "razar.boot",
        "razar.ignition",
        "razar.phase",
        "razar.probe_wait",
    ]
    assert recorder.one("razar.boot").status.description == "SIGINT"


def test_a_shutdown_before_the_boot_has_ended_is_in_the_trace(recorder: Recorder) -> None:
    boot = BootTrace(Tracer(), "demo", "boot-1", at=BEGAN)
    story = Story(component("a")).begin().spawn("a").take(events.ShutdownRequested("SIGTERM")).exit("a", None)
    story.tell(boot)
    assert (recorder.one("razar.boot").attributes or {})["razar.outcome"] == "stopped"


def test_traceparent_names_the_span_of_the_component_or_the_boot(recorder: Recorder) -> None:
    boot = BootTrace(Tracer(), "demo", "boot-1")
    Story(component("a")).begin().tell(boot)
    whole, own = boot.traceparent(), boot.traceparent("a")
    assert whole is not None and own is not None
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", own)
    assert whole.split("-")[1] == own.split("-")[1] and whole != own
    assert boot.traceparent("unknown") == whole
    boot.close()
    assert own.split("-")[2] == f"{_id(recorder.one('razar.ignition')):016x}"


def test_errors_in_spans_hold_no_secrets(recorder: Recorder) -> None:
    span = Tracer().start("x")
    span.fail("https://u:hunter22@host refused")
    span.end()
    span.end()
    assert recorder.one("x").status.description == "https://host refused"


def test_the_running_thread_is_nobodys_parent(recorder: Recorder) -> None:
    with trace.get_tracer("other").start_as_current_span("other"):
        BootTrace(Tracer(), "demo", "boot-1").close()
    assert recorder.one("razar.boot").parent is None


def test_with_the_api_but_no_sdk_nothing_is_recorded_and_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    boot = BootTrace(Tracer(), "demo", "boot-1")
    Story(component("a")).begin().prove("a").tell(boot)
    assert boot.traceparent() is None
    boot.close()


def test_who_traces() -> None:
    assert wanted({"OTEL_SERVICE_NAME": "razar"})
    assert not wanted({"OTEL_SERVICE_NAME": "razar", "OTEL_SDK_DISABLED": "true"})
    assert Tracer(enabled=False).start("x") is NO_SPAN


_WITHOUT = """
import sys
if {blocked}:
    sys.modules["opentelemetry"] = None
from razar.tracing import NO_SPAN, BootTrace, Tracer
boot = BootTrace(Tracer(), "demo", "boot-1", at=1.0)
boot.phase("ignition")
assert boot.root is NO_SPAN and boot.child("x", layer="l") is NO_SPAN and boot.traceparent("a") is None
boot.close()
print(sorted(name for name in sys.modules if name.startswith("opentelemetry.")))
"""


@pytest.mark.parametrize("blocked", [True, False], ids=["not installed", "not asked for"])
def test_without_the_api_there_is_nothing(blocked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    if blocked:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "razar")
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(blocked=blocked)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr
