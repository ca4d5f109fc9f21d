"""Where the time of a boot went: when each component started and became healthy, and the critical path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from razar.engine import events
from razar.mission_logger import Record

__all__ = ["Boot", "Phase", "Step", "read_boot"]

#: Seconds by which what was noticed may follow what it made possible, and still be its cause.
_SLACK = 0.001


class Phase(Struct, frozen=True, kw_only=True):
    """Something done before or beside the ignition; times are seconds since the boot began."""

    name: str
    end: float
    seconds: float
    outcome: str


class Step(Struct, kw_only=True):
    """One component; times are seconds since the boot began. ``attempts`` counts its launches."""

    id: str
    started: float
    healthy: float | None = None
    ended: float | None = None
    attempts: int = 1
    outcome: Literal["healthy", "completed", "failed", "igniting"] = "igniting"
    passed: int = 0

    @property
    def settled(self) -> float:
        """When the boot no longer waited for it, as far as is known."""
        return (
            self.healthy
            if self.healthy is not None
            else self.ended
            if self.ended is not None
            else self.started
        )


class Boot(Struct, frozen=True, kw_only=True):
    """One boot. ``ignition`` is when the preparation was over; ``path`` the critical path.

    Each part of the path is (what, seconds); together they are ``seconds``, the time until the
    last component was settled.
    """

    mission: str
    boot_id: str
    began: float
    seconds: float
    ignition: float
    phases: tuple[Phase, ...]
    steps: tuple[Step, ...]
    path: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """The boot as plain values, with the share of each part of the path."""
        from razar.utils.times import utc_micro

        return {
            "mission": self.mission,
            "boot_id": self.boot_id,
            "began": utc_micro(self.began),
            "seconds": self.seconds,
            "ignition": self.ignition,
            "phases": [
                {"name": phase.name, "end": phase.end, "seconds": phase.seconds, "outcome": phase.outcome}
                for phase in self.phases
            ],
            "components": [
                {
                    "id": step.id,
                    "started": step.started,
                    "healthy": step.healthy,
                    "seconds": None if step.healthy is None else step.healthy - step.started,
                    "attempts": step.attempts,
                    "outcome": step.outcome,
                }
                for step in self.steps
            ],
            "critical_path": [
                {"what": what, "seconds": seconds, "percent": self.percent(seconds)}
                for what, seconds in self.path
            ],
        }

    def percent(self, seconds: float) -> float:
        """The share of the boot's time."""
        return round(100 * seconds / self.seconds, 1) if self.seconds > 0 else 0.0


def read_boot(
    records: Sequence[Record],
    *,
    successes: Mapping[str, int],
    dependencies: Mapping[str, Sequence[str]] | None,
    ended: float | None = None,
    now: float | None = None,
) -> Boot | None:
    """Read one boot from its records; None if they do not hold its beginning.

    ``successes`` says how many probes in a row prove a component (1 if it is not in there).
    ``dependencies`` are those of a parallel ignition; None for one by one, or if they are not known.
    ``ended`` is when the boot ended, if it has: what comes later (the end of a hold, an approved repair)
    is no part of it. ``now`` is the time while it goes on.
    """
    first = records[0].event if records else None
    if not isinstance(first, events.BootStarted) or records[0].state is not None:
        return None
    began = records[0].at
    ignition: float | None = None
    phases: list[Phase] = []
    steps: dict[str, Step] = {}
    taken_over: set[str] = set()
    last = began if now is None else now
    for record in records:
        if ended is not None and record.at > ended:
            break
        at = record.at - began
        last = max(last, record.at)
        match record.event:
            case events.EnvironmentPrepared(layer=layer, outcome=outcome, seconds=seconds):
                phases.append(Phase(name=f"environment {layer}", end=at, seconds=seconds, outcome=outcome))
            case events.HandshakeCompleted(result=result, seconds=seconds):
                phases.append(Phase(name="Crown", end=at, seconds=seconds, outcome=str(result.get("status"))))
            case events.MemoryInitialised(seconds=seconds):
                phases.append(Phase(name="memory", end=at, seconds=seconds, outcome="initialised"))
            case events.CoreEvaluated(seconds=seconds, result=result_):
                phases.append(Phase(name="core", end=at, seconds=seconds, outcome=result_.partition(":")[0]))
            case events.IgnitionBegan():
                ignition = at
            case events.OperatorRestarted() | events.OperatorReleased() | events.OperatorStopped():
                taken_over.add(record.event.component)
                _close(steps.get(record.event.component), at)
            case events.ShutdownRequested():
                break
            case event if event is not None and hasattr(event, "component"):
                if event.component not in taken_over:
                    _take(steps, event, at, successes)
            case _:
                pass
    for step in steps.values():
        if step.outcome == "igniting":
            step.ended = last - began
    seconds = max((step.settled for step in steps.values()), default=ignition or records[-1].at - began)
    return Boot(
        mission=first.mission,
        boot_id=first.boot_id,
        began=began,
        seconds=seconds,
        ignition=seconds if ignition is None else ignition,
        phases=tuple(phases),
        steps=tuple(steps.values()),
        path=_critical_path(steps, ignition, dependencies),
    )


def _take(steps: dict[str, Step], event: Any, at: float, successes: Mapping[str, int]) -> None:
    """Take an event about a component; what happens after it was healthy first is no part of the boot."""
    step = steps.get(event.component)
    if isinstance(event, events.Spawned | events.LaunchFailed):
        if step is None:
            step = steps[event.component] = Step(id=event.component, started=at)
        elif step.outcome != "igniting" and step.healthy is None:
            step.attempts += 1
            step.outcome, step.ended, step.passed = "igniting", None, 0
        if isinstance(event, events.LaunchFailed) and step.healthy is None:
            step.outcome, step.ended = "failed", at
        return
    if step is None or step.outcome != "igniting":
        return
    match event:
        case events.ProbePassed():
            step.passed += 1
            if step.passed >= successes.get(step.id, 1):
                step.outcome, step.healthy = "healthy", at
        case events.ProbeFailed():
            step.passed = 0
        case events.Exited(code=0):
            step.outcome, step.healthy = "completed", at
        case events.Exited():
            step.outcome, step.ended = "failed", at
        case _:
            pass


def _close(step: Step | None, at: float) -> None:
    """An operator took the component in hand: what it does from then on is no part of the boot."""
    if step is not None and step.outcome == "igniting":
        step.outcome, step.ended = "failed", at


def _critical_path(
    steps: Mapping[str, Step], ignition: float | None, dependencies: Mapping[str, Sequence[str]] | None
) -> tuple[tuple[str, float], ...]:
    """Go back from the component that was settled last to whatever each one had to wait for."""
    if ignition is None:
        return ()
    path: list[tuple[str, float]] = []
    current = max(steps.values(), key=lambda step: step.settled, default=None)
    while current is not None:
        gate = _gate(current, steps, dependencies)
        begin = ignition if gate is None else min(gate.settled, current.started)
        path.append((current.id, max(0.0, current.settled - begin)))
        current = gate
    path.append(("preparation", ignition))
    return tuple(reversed(path))


def _gate(
    step: Step, steps: Mapping[str, Step], dependencies: Mapping[str, Sequence[str]] | None
) -> Step | None:
    """The component whose end let this one start; None if that was the ignition itself."""
    candidates = steps if dependencies is None else dependencies.get(step.id, ())
    before = [
        other
        for id in candidates
        if (other := steps.get(id)) is not None
        and other is not step
        and other.settled <= step.started + _SLACK
        and other.started < step.started
    ]
    return max(before, key=lambda other: other.settled, default=None)
