"""Spans, collected in memory by the exporter of the SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.waiting import until_sync

__all__ = ["Recorder", "recorder", "traceparent"]


class Recorder:
    """What a test's spans were."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Wait until so many spans of a name have ended; return them in the order they began."""

        def found() -> list[ReadableSpan]:
            return [span for span in self._exporter.get_finished_spans() if span.name == name]

        until_sync(lambda: len(found()) >= count)
        spans = sorted(found(), key=lambda span: span.start_time or 0)
        assert len(spans) == count, spans
        return spans

    def one(self, name: str) -> ReadableSpan:
        """Wait for the one span of a name."""
        return self.named(name)[0]

    def names(self) -> set[str]:
        """The names of all spans that have ended."""
        return {span.name for span in self._exporter.get_finished_spans()}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Configure an SDK for one test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Recorder(exporter)
    provider.shutdown()


def traceparent(span: ReadableSpan) -> str:
    """The header that names this span."""
    context = span.context
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
