"""Spans of calls of the memory: where they stand, and that nothing remembered is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from memory.bundle import MemoryBundle
from neoabzu_memory import ClosedError, CorruptError
from tests.support.spans import Recorder, recorder

__all__ = ["recorder"]

SECRET = "heliotrope"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("memory."): value for name, value in (span.attributes or {}).items()}


def below(work: Callable[[], object]) -> int:
    """Do it within a span; return that span's id."""
    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        work()
        return caller.get_span_context().span_id


def use(bundle: MemoryBundle) -> None:
    """Call everything once, with a word that must not be seen."""
    bundle.initialize()
    id = bundle.remember("working", SECRET, metadata={SECRET: SECRET}, key=SECRET)
    bundle.remember_many("semantic", [{"text": f"{SECRET} one"}, {"text": f"{SECRET} two"}])
    assert len(bundle.query(SECRET, deadline=10)["hits"]) == 3
    assert bundle.forget(id) and not bundle.forget(id)
    fingerprint = bundle.record_failure("router", "crash", f"ValueError: {SECRET}")
    bundle.record_repair(fingerprint, {"edit": SECRET}, True)
    assert len(bundle.recall_repair(fingerprint)) == 1


def test_calls_stand_below_what_is_current_and_tell_numbers_only(tmp_path: Path, recorder: Recorder) -> None:
    with MemoryBundle(tmp_path / "memory.db") as bundle:
        caller = below(lambda: use(bundle))
    expected: dict[str, list[dict[str, Any]]] = {
        "initialize": [{"failed_layers": 0}],
        "remember": [{"layer": "working"}],
        "remember_many": [{"layer": "semantic", "records": 2}],
        "query": [{"hits": 3, "failed_layers": 0}],
        "forget": [{"layer": "working", "records": 1}, {"layer": "working", "records": 0}],
        "record_failure": [{}],
        "record_repair": [{}],
        "recall_repair": [{"repairs": 1}],
    }
    assert recorder.names() == {"caller"} | {f"memory.{name}" for name in expected}
    for name, told in expected.items():
        spans = recorder.named(f"memory.{name}", len(told))
        assert [attributes(span) for span in spans] == told
        for span in spans:
            assert span.parent is not None and span.parent.span_id == caller
            assert (span.kind, span.status.status_code) == (SpanKind.INTERNAL, StatusCode.UNSET)
            assert SECRET not in span.to_json()


def test_a_failure_is_told(tmp_path: Path, recorder: Recorder) -> None:
    path = tmp_path / "memory.db"
    path.write_text(SECRET * 1000)
    damaged, closed = MemoryBundle(path), MemoryBundle(tmp_path / "other.db")
    closed.close()

    def fail() -> None:
        with pytest.raises(CorruptError):
            damaged.remember("working", SECRET)
        assert all(state.startswith("error") for state in damaged.initialize().values())
        with pytest.raises(ClosedError):
            closed.query(SECRET)

    below(fail)
    words = {"remember": "not a memory file", "initialize": "not a memory file", "query": "closed"}
    for name, word in words.items():
        span = recorder.one(f"memory.{name}")
        assert span.status.status_code is StatusCode.ERROR and word in str(span.status.description)
        assert SECRET not in span.to_json()
    assert attributes(recorder.one("memory.initialize")) == {"failed_layers": 4}


def test_where_nothing_is_current_no_trace_begins(tmp_path: Path, recorder: Recorder) -> None:
    with MemoryBundle(tmp_path / "memory.db") as bundle:
        use(bundle)
    assert recorder.names() == set()


SCRIPT = """
import json, sys
from memory.bundle import MemoryBundle
with MemoryBundle(sys.argv[1]) as bundle:
    bundle.initialize()
    bundle.query("x")
print(json.dumps([name for name in sys.modules if name.startswith("opentelemetry")]))
"""


def test_nothing_is_imported_where_nobody_traces(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "memory.db")]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == []
