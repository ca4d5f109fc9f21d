"""What Prometheus sees: the table of metrics, their values, and the projection of the facts.

Values are kept in plain dictionaries; ``prometheus_client`` is imported by the first scrape, so
that a boot nobody watches does not pay for it.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, Protocol, get_args

from razar.engine.facts import Fact, MissionSettled, Transition
from razar.engine.state import MissionState, State

__all__ = ["DEFAULT", "TABLE", "Metric", "MissionMetrics", "Store", "init_metrics"]

_BOOT = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_BUILD = (0.005, 0.05, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_IGNITION = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_PROBE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REPAIR = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 300.0, 600.0, 900.0)


class Metric(NamedTuple):
    """One row of the table. ``buckets`` are upper bounds in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, help: str) -> Metric:
    return Metric(name, "counter", ("component",), help)


def _seconds(name: str, labels: str, help: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, "histogram", tuple(labels.split()), help, buckets)


#: Every metric there is; dashboards and alert rules refer to these names.
TABLE = (
    _counter("razar_ai_invocation_success_total", "Repairs after which the component was healthy."),
    _counter("razar_ai_invocation_failure_total", "Repair attempts that did not help."),
    _counter("razar_ai_invocation_retries_total", "Repair attempts beyond the first of a failure."),
    _counter("razar_component_restarts_total", "Ignitions of a component that had been healthy before."),
    _seconds("razar_ai_retry_duration_seconds", "component", "How long one repair attempt took.", _REPAIR),
    _seconds("razar_ignition_seconds", "component", "From ignition to healthy.", _IGNITION),
    _seconds("razar_boot_seconds", "mission outcome", "From the start of a boot to its end.", _BOOT),
    _seconds("razar_probe_seconds", "component outcome", "How long one health check took.", _PROBE),
    _seconds("razar_environment_build_seconds", "layer outcome", "Preparing a layer's environment.", _BUILD),
    _seconds("razar_handover_seconds", "agent outcome", "How long one call to a repair agent took.", _REPAIR),
    Metric(
        "razar_component_state",
        "gauge",
        ("component", "layer", "state"),
        "1 for the state a component is in, 0 for all others.",
    ),
    Metric("razar_quarantined_components", "gauge", (), "Components in quarantine."),
)

_BY_NAME = {metric.name: metric for metric in TABLE}
_AI_COUNTERS = tuple(name for name in _BY_NAME if name.startswith("razar_ai_invocation_"))


class _Histogram:
    __slots__ = ("buckets", "counts", "sum")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.buckets, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        total, result = 0, []
        for bound, count in zip((*self.buckets, float("inf")), self.counts, strict=True):
            total += count
            result.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
        return result


class Store:
    """The values of every metric in this process; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, ...], float]] = {
            metric.name: {} for metric in TABLE if metric.kind != "histogram"
        }
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {
            metric.name: {} for metric in TABLE if metric.kind == "histogram"
        }
        self._states: dict[str, tuple[str, State]] = {}
        self._mission: str | None = None

    def count(self, name: str, labels: tuple[str, ...], by: float = 1.0) -> None:
        """Add to a counter; by 0 makes the series exist."""
        with self._lock:
            series = self._values[name]
            series[labels] = series.get(labels, 0.0) + by

    def observe(self, name: str, labels: tuple[str, ...], seconds: float) -> None:
        """Add an observation to a histogram."""
        with self._lock:
            series = self._histograms[name]
            if labels not in series:
                series[labels] = _Histogram(_BY_NAME[name].buckets)
            series[labels].observe(seconds)

    def enter(self, component: str, layer: str, state: State) -> None:
        """Note the state a component is in."""
        with self._lock:
            self._states[component] = (layer, state)

    def begin(self, mission: str | None, components: Iterable[tuple[str, str]]) -> None:
        """A mission of these (component, layer): its series exist from now on."""
        with self._lock:
            self._mission = mission
            self._states.clear()
            for component, layer in components:
                self._states[component] = (layer, "pending")
                for name in (*_AI_COUNTERS, "razar_component_restarts_total"):
                    self._values[name].setdefault((component,), 0.0)

    def health(self) -> dict[str, Any]:
        """The answer of ``/healthz``: that the process is alive, and the components by state."""
        with self._lock:
            states = [state for _, state in self._states.values()]
        return {
            "status": "ok",
            "pid": os.getpid(),
            "mission": self._mission,
            "components": {state: states.count(state) for state in get_args(State) if state in states},
        }

    def samples(self, metric: Metric) -> list[tuple[tuple[str, ...], float]]:
        """The series of a counter or gauge: (label values, value)."""
        with self._lock:
            if metric.name == "razar_component_state":
                return [
                    ((component, layer, state), float(state == current))
                    for component, (layer, current) in self._states.items()
                    for state in get_args(State)
                ]
            if metric.name == "razar_quarantined_components":
                return [((), float(sum(state == "quarantined" for _, state in self._states.values())))]
            return list(self._values[metric.name].items())

    def histograms(self, metric: Metric) -> list[tuple[tuple[str, ...], list[tuple[str, float]], float]]:
        """The series of a histogram: (label values, [(upper bound, cumulative count)], sum)."""
        with self._lock:
            return [
                (labels, histogram.cumulative(), histogram.sum)
                for labels, histogram in self._histograms[metric.name].items()
            ]


#: The values of this process.
DEFAULT = Store()


class _Named(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def layer(self) -> str: ...


class MissionMetrics:
    """The projection of the facts, and the figures that adapters measure. Durations are seconds."""

    def __init__(self, mission: str, components: Iterable[_Named], store: Store = DEFAULT) -> None:
        self._mission = mission
        self._store = store
        store.begin(mission, [(component.id, component.layer) for component in components])

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        """Move what a fact moves."""
        match fact:
            case Transition():
                self._store.enter(fact.component, fact.layer, fact.after)
                if fact.before == "igniting" and fact.after in ("running", "completed"):
                    self._store.observe("razar_ignition_seconds", (fact.component,), fact.seconds)
                elif _is_restart(fact):
                    self._store.count("razar_component_restarts_total", (fact.component,))
            case MissionSettled():
                self._store.observe("razar_boot_seconds", (self._mission, fact.outcome), fact.seconds)
            case _:
                pass

    def environment_built(self, layer: str, outcome: str, seconds: float) -> None:
        """An environment is there or failed: ``built``, ``unchanged``, ``failed``."""
        self._store.observe("razar_environment_build_seconds", (layer, outcome), seconds)

    def probe(self, component: str, outcome: str, seconds: float) -> None:
        """One health check ended: ``passed`` or ``failed``."""
        self._store.observe("razar_probe_seconds", (component, outcome), seconds)

    def handover(self, agent: str, outcome: str, seconds: float) -> None:
        """One call to a repair agent ended: ``patched``, ``rejected``, ``failed``."""
        self._store.observe("razar_handover_seconds", (agent, outcome), seconds)


def _is_restart(fact: Transition) -> bool:
    if fact.after == "igniting":
        return fact.cause == "restart"
    # An operator's restart of a live component goes by way of ``pending``.
    return fact.before == "stopping" and fact.after == "pending" and fact.cause == "operator"


def init_metrics(
    port: int | None = None,
    host: str | None = None,
    *,
    report: Callable[[str], None] | None = None,
    store: Store = DEFAULT,
) -> int | None:
    """Serve ``/metrics`` and ``/healthz`` from a daemon thread; return the port.

    Defaults are RAZAR_METRICS_PORT (9360; 0 picks a free one) and RAZAR_METRICS_HOST (127.0.0.1).
    Later calls in the same process return the port that is already served. What stands in the way
    (port taken, malformed variable, ``prometheus_client`` missing) is told through ``report``,
    by default a warning of the logger ``razar.metrics``, and None is returned; it never raises.
    """
    from razar.projections.metrics_server import serve

    return serve(port, host, report or _warn, store)


def _warn(message: str) -> None:
    import logging

    logging.getLogger("razar.metrics").warning(message)
