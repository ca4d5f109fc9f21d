"""What a fact says in words: the lines of the log, of which the console shows a part."""

from __future__ import annotations

from typing import Literal, NamedTuple

from razar.engine.facts import Fact, MissionSettled, MissionStopped, Transition
from razar.engine.state import MissionState
from razar.utils.redaction import one_line
from razar.utils.times import utc

__all__ = ["Level", "Line", "lines_of"]

Level = Literal["INFO", "WARN", "ERROR"]

_FAILURES = frozenset({"exit", "launch", "deadline", "liveness"})
_PENDING = {
    "dependency": "waits for what it depends on",
    "hold": "the hold has ended; ignites in its turn",
    "operator": "is started anew",
    "repair": "was repaired; is started anew",
}


class Line(NamedTuple):
    """One line. ``detail``: for the log and for those who ask for more; ``tail``: quoted from a component."""

    level: Level
    text: str
    detail: bool = False
    tail: bool = False


def lines_of(fact: Fact, mission: str, state: MissionState | None = None) -> list[Line]:
    """The lines of a fact, free of secrets and control characters.

    ``state`` is the mission after the fact; it only adds when a restart is due, or a hold ends.
    """
    match fact:
        case MissionSettled(outcome="complete"):
            return [
                Line("INFO", f"Mission {mission} complete"),
                Line("INFO", f"Mission {mission}: the boot took {fact.seconds:.3f} s", detail=True),
            ]
        case MissionSettled():
            return [Line("ERROR", f"Mission {mission} failed: {one_line(fact.reason or 'no reason given')}")]
        case MissionStopped():
            reason = f": {one_line(fact.reason)}" if fact.reason else ""
            return [Line("INFO", f"Mission {mission} stopped{reason}")]
        case Transition():
            return _transition(fact, state)


def _transition(fact: Transition, state: MissionState | None) -> list[Line]:
    id = fact.component
    if fact.cause in _FAILURES and fact.after in ("backoff", "repairing", "quarantined", "failed"):
        return _failed(fact, state)
    error = f": {one_line(fact.error)}" if fact.error else ""
    match fact.after:
        case "igniting" if fact.cause == "spawned":
            return [Line("INFO", f"{id}: started, pid {fact.pid}", detail=True)]
        case "igniting":
            lines = [Line("INFO", f"Booting component {id}")]
            if fact.incarnation > 1:
                lines.append(
                    Line("INFO", f"{id}: incarnation {fact.incarnation} ({fact.cause})", detail=True)
                )
            return lines
        case "running":
            lines = [Line("INFO", f"Health check passed for {id}")]
            if fact.before == "igniting":
                lines.append(Line("INFO", f"{id}: healthy after {fact.seconds:.3f} s", detail=True))
            return lines
        case "completed":
            passed = [Line("INFO", f"Health check passed for {id}")] if fact.before == "igniting" else []
            return [*passed, Line("INFO", f"{id}: completed", detail=bool(passed))]
        case "unhealthy":
            return [Line("ERROR", f"Health check failed for {id}"), Line("ERROR", f"{id}{error}")]
        case "quarantined":
            return [Line("ERROR", f"{id}: quarantined{error}")]
        case "failed":
            return [Line("ERROR", f"{id}: failed{error}")]
        case "blocked":
            return [Line("WARN", f"{id}: blocked{error}")]
        case "held":
            component = state.components.get(id) if state is not None else None
            until = component.until if component is not None and component.state == "held" else None
            return [Line("WARN", f"{id}: held{error}" + (f", until {utc(until)}" if until else ""))]
        case "skipped":
            return [Line("INFO", f"{id}: skipped{error}")]
        case "pending":
            return [Line("INFO", f"{id}: {_PENDING.get(fact.cause, 'waits for its turn')}", detail=True)]
        case "stopping":
            return [] if fact.before == "stopping" else [Line("INFO", f"{id}: stopping", detail=True)]
        case "stopped":
            # One that was never started needs no word on the screen.
            return [Line("INFO", f"{id}: stopped", detail=fact.incarnation == 0)]
        case "repairing" if fact.cause == "approval":
            return [Line("WARN", f"{id}{error} (razar repairs show, approve, reject)")]
        case "backoff" | "repairing":
            return [_consequence(fact, state)]


def _failed(fact: Transition, state: MissionState | None) -> list[Line]:
    """An incarnation has ended badly: what was wrong, its last words, and what follows."""
    lines = []
    if fact.before == "igniting":
        lines.append(Line("ERROR", f"Health check failed for {fact.component}"))
    # An unhealthy one has had its error told when it became so.
    if fact.before != "unhealthy" or fact.cause != "liveness" or fact.after == "quarantined":
        lines.append(Line("ERROR", f"{fact.component}: {one_line(fact.error or 'failed')}"))
    lines += [Line("ERROR", f"    | {one_line(line)}", tail=True) for line in fact.tail]
    lines.append(_consequence(fact, state))
    return lines


def _consequence(fact: Transition, state: MissionState | None) -> Line:
    id = fact.component
    match fact.after:
        case "backoff":
            component = state.components.get(id) if state is not None else None
            if component is None or component.state != "backoff" or component.until is None:
                return Line("WARN", f"{id}: restart follows")
            return Line("WARN", f"{id}: restart in {max(0.0, component.until - fact.at):.3g} s")
        case "repairing":
            return Line("WARN", f"{id}: handed to repair")
        case "quarantined":
            return Line("ERROR", f"{id}: quarantined")
        case _:
            return Line("ERROR", f"{id}: failed for good, its restart policy is never")
