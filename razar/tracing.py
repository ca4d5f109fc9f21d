"""Spans of a boot, through the OpenTelemetry API alone; nothing at all without it.

One boot is one trace: the root ``razar.boot`` with a child for every phase, environment, ignition
(which has a child for the wait for its first healthy probe), handshake, memory, core evaluation,
handover and patch. Where spans go is the business of the SDK that the operator configured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from razar.engine.facts import Fact, MissionSettled, MissionStopped, Transition
from razar.engine.state import MissionState
from razar.utils.redaction import one_line

__all__ = ["NO_SPAN", "BootTrace", "Span", "Tracer", "wanted"]

#: Names of spans.
BOOT = "razar.boot"
PHASE = "razar.phase"
ENVIRONMENT = "razar.environment"
IGNITION = "razar.ignition"
PROBE_WAIT = "razar.probe_wait"
HANDSHAKE = "razar.handshake"
MEMORY = "razar.memory"
CORE = "razar.core_evaluation"
HANDOVER = "razar.handover"
PATCH = "razar.patch"

#: Names of attributes.
MISSION = "razar.mission"
BOOT_ID = "razar.boot_id"
COMPONENT = "razar.component"
LAYER = "razar.layer"
INCARNATION = "razar.incarnation"
OUTCOME = "razar.outcome"
PHASE_NAME = "razar.phase"
AGENT = "razar.agent"
PID = "process.pid"

Value = str | int | float | bool


class Span(Protocol):
    """A span that was started. Instants are epoch seconds; None means now."""

    def set(self, name: str, value: Value) -> None:
        """Set an attribute."""

    def fail(self, error: str) -> None:
        """Mark the span as failed."""

    def end(self, at: float | None = None) -> None:
        """End the span; a second time does nothing."""

    def traceparent(self) -> str | None:
        """The span as a W3C ``traceparent``, for TRACEPARENT and headers; None if it is not recorded."""


class _NoSpan:
    def set(self, name: str, value: Value) -> None:
        pass

    def fail(self, error: str) -> None:
        pass

    def end(self, at: float | None = None) -> None:
        pass

    def traceparent(self) -> str | None:
        return None


#: The span of everything while nobody traces.
NO_SPAN: Span = _NoSpan()


class _ApiSpan:
    def __init__(self, api: Any, span: Any) -> None:
        self._api = api
        self.span = span
        self._ended = False

    def set(self, name: str, value: Value) -> None:
        self.span.set_attribute(name, value)

    def fail(self, error: str) -> None:
        self.span.set_status(self._api.Status(self._api.StatusCode.ERROR, one_line(error)))

    def end(self, at: float | None = None) -> None:
        if not self._ended:
            self._ended = True
            self.span.end(_nanoseconds(at))

    def traceparent(self) -> str | None:
        # https://www.w3.org/TR/trace-context/#traceparent-header
        context = self.span.get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether anybody could see spans: an SDK is loaded or configured. Else the API is not imported."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return "opentelemetry" in sys.modules or any(name.startswith("OTEL_") for name in environ)


class Tracer:
    """Starts spans whose parents are given explicitly, never taken from the running thread."""

    def __init__(self, enabled: bool | None = None) -> None:
        self._api: Any = None
        self._tracer: Any = None
        if not (wanted() if enabled is None else enabled):
            return
        try:
            from opentelemetry import context, trace
        except ImportError:
            return
        from razar import __version__

        self._api = trace
        self._nothing = context.Context()
        self._tracer = trace.get_tracer("razar", __version__)

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere."""
        return self._tracer is not None

    def start(
        self,
        name: str,
        parent: Span | None = None,
        *,
        at: float | None = None,
        link: Span | None = None,
        attributes: Mapping[str, Value] | None = None,
    ) -> Span:
        """Start a span: a child of ``parent``, or a root, which may be linked to another trace."""
        if self._tracer is None:
            return NO_SPAN
        context = self._nothing
        if isinstance(parent, _ApiSpan):
            context = self._api.set_span_in_context(parent.span, context)
        links = [self._api.Link(link.span.get_span_context())] if isinstance(link, _ApiSpan) else None
        span = self._tracer.start_span(
            name,
            context=context,
            attributes=dict(attributes or {}),
            links=links,
            start_time=_nanoseconds(at),
            record_exception=False,
        )
        return _ApiSpan(self._api, span)


class BootTrace:
    """The projection of the facts into spans, and the parent of those that others start.

    Ignitions after the boot are roots of their own, linked to the boot: a trace that grew for
    months would be of use to nobody.
    """

    def __init__(self, tracer: Tracer, mission: str, boot_id: str, at: float | None = None) -> None:
        self.tracer = tracer
        self.root = tracer.start(BOOT, at=at, attributes={MISSION: mission, BOOT_ID: boot_id})
        self._settled = False
        self._phase: Span = NO_SPAN
        self._ignitions: dict[str, Span] = {}
        self._waits: dict[str, Span] = {}

    def child(
        self, name: str, parent: Span | None = None, *, at: float | None = None, **attributes: Value
    ) -> Span:
        """Start a span below ``parent``, default the current phase or the boot itself.

        Other keywords are attributes, written without their ``razar.`` (``layer="core"``).
        """
        above = parent or (self.root if self._phase is NO_SPAN else self._phase)
        return self.tracer.start(
            name, above, at=at, attributes={f"razar.{key}": value for key, value in attributes.items()}
        )

    def phase(self, name: str | None, at: float | None = None) -> None:
        """End the phase there is and begin the next (``environments``, ``crown``, ``ignition``)."""
        self._phase.end(at)
        self._phase = NO_SPAN
        if name is not None:
            self._phase = self.tracer.start(PHASE, self.root, at=at, attributes={PHASE_NAME: name})

    def traceparent(self, component: str | None = None) -> str | None:
        """What to hand to a component that is being ignited, or to others: its span, or the boot's."""
        span = self.root if component is None else self._ignitions.get(component, self.root)
        return span.traceparent()

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        """Start and end what a fact starts and ends."""
        if not self.tracer.enabled:
            return
        match fact:
            case Transition(after="igniting", cause="spawned"):
                self._spawned(fact)
            case Transition(after="igniting"):
                self._ignited(fact)
            case Transition(before="igniting"):
                self._proven(fact)
            case MissionSettled():
                self._end(fact.outcome, fact.reason, fact.at)
            case MissionStopped():
                self._end("stopped", None, fact.at)
            case _:
                pass

    def close(self, outcome: str = "interrupted", error: str | None = None, at: float | None = None) -> None:
        """End what is still open, for a boot that never settled (``outcome`` says why)."""
        for span in (*self._waits.values(), *self._ignitions.values()):
            span.end(at)
        self._end(outcome, error, at)

    def _ignited(self, fact: Transition) -> None:
        if fact.component in self._ignitions:
            self._ignitions.pop(fact.component).end(fact.at)
        self._ignitions[fact.component] = self.tracer.start(
            IGNITION,
            None if self._settled else (self.root if self._phase is NO_SPAN else self._phase),
            at=fact.at,
            link=self.root if self._settled else None,
            attributes={COMPONENT: fact.component, LAYER: fact.layer, INCARNATION: fact.incarnation},
        )

    def _spawned(self, fact: Transition) -> None:
        span = self._ignitions.get(fact.component)
        if span is None:
            return
        if fact.pid is not None:
            span.set(PID, fact.pid)
        self._waits[fact.component] = self.tracer.start(
            PROBE_WAIT, span, at=fact.at, attributes={COMPONENT: fact.component}
        )

    def _proven(self, fact: Transition) -> None:
        for span in (self._waits.pop(fact.component, NO_SPAN), self._ignitions.pop(fact.component, NO_SPAN)):
            span.set(OUTCOME, fact.after)
            if fact.after not in ("running", "completed", "stopping", "stopped"):
                span.fail(fact.error or fact.after)
            span.end(fact.at)

    def _end(self, outcome: str, error: str | None, at: float | None) -> None:
        if self._settled:
            return
        self._settled = True
        self.phase(None, at)
        self.root.set(OUTCOME, outcome)
        if error is not None:
            self.root.fail(error)
        self.root.end(at)


def _nanoseconds(at: float | None) -> int | None:
    return None if at is None else int(at * 1_000_000_000)
