"""The journal in words: what happened when (``timeline``) and what it came to (``summary``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from razar.engine import events
from razar.mission_logger import Record, read, segments
from razar.utils.redaction import one_line
from razar.utils.times import utc

__all__ = ["describe", "entry", "main", "summarise"]


def describe(record: Record) -> str:
    """One line for people, without the time."""
    if record.event is None or record.state is not None:
        return "journal continued in a new file"
    match record.event:
        case events.BootStarted(mission=mission, boot_id=boot_id):
            text = f"boot of mission {mission} began ({boot_id})"
        case events.EnvironmentPrepared(layer=layer, outcome=outcome, seconds=seconds, error=error):
            text = f"environment {layer}: {outcome} in {seconds:.2f} s" + (f": {error}" if error else "")
        case events.HandshakeCompleted(result=result):
            text = f"Crown: {result.get('status', 'unknown')}"
        case events.ModelLaunched(result=result):
            text = f"model launcher: {result.get('model')}: {result.get('status')}"
        case events.MemoryInitialised(layers=layers):
            text = "memory: " + ", ".join(f"{name} {status}" for name, status in layers.items())
        case events.CoreEvaluated(result=result):
            text = f"core: {result}"
        case events.IgnitionBegan(skipped=skipped, held=held, quarantined=quarantined):
            counts = {"skipped": len(skipped), "held": len(held), "quarantined": len(quarantined)}
            text = "ignition began" + "".join(f", {count} {name}" for name, count in counts.items() if count)
        case events.ShutdownRequested(reason=reason, hurry=hurry):
            text = f"shutdown requested{' in a hurry' if hurry else ''}: {reason}"
        case event:
            text = f"{event.component}: {_component_event(event)}"
    return one_line(text)


def _component_event(event: Any) -> str:
    match event:
        case events.Spawned():
            return f"started, pid {event.pid}, incarnation {event.incarnation}"
        case events.LaunchFailed():
            return f"could not be started: {event.error}"
        case events.Exited(code=int(code)):
            return f"incarnation {event.incarnation} exited with code {code}"
        case events.Exited(signal=str(signal)):
            return f"incarnation {event.incarnation} was killed by SIG{signal}"
        case events.Exited():
            return f"incarnation {event.incarnation} is gone; its exit status is unknown"
        case events.ProbePassed():
            return "health check passed"
        case events.ProbeFailed():
            return f"health check failed: {event.error}"
        case events.TimerFired():
            return f"timer {event.timer} ran out"
        case events.RepairAwaits():
            return f"repair {event.patch} waits for approval"
        case events.RepairFinished():
            return "repaired" if event.patched else f"not repaired: {event.reason or 'no reason given'}"
        case events.OperatorStopped():
            return "stopped by the operator"
        case events.OperatorRestarted():
            return "restarted by the operator"
        case events.OperatorReleased():
            return "released from quarantine by the operator"
        case _:
            return type(event).__name__


def entry(record: Record) -> dict[str, Any]:
    """The same for programs: the record with its time as text and the description."""
    result: dict[str, Any] = {
        "seq": record.seq,
        "time": utc(record.at),
        "at": record.at,
        "boot": record.boot,
        "text": describe(record),
    }
    if record.event is not None and record.state is None:
        result["event"] = msgspec.to_builtins(record.event)
    return result


def summarise(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One entry per boot, oldest first, with what happened to each component."""
    boots: dict[str, dict[str, Any]] = {}
    for record in records:
        boot = boots.setdefault(
            record.boot,
            {
                "boot": record.boot,
                "mission": None,
                "began": utc(record.at),
                "last": utc(record.at),
                "events": 0,
                "handshake": None,
                "stopped": None,
                "components": {},
            },
        )
        boot["last"] = utc(record.at)
        if record.event is None or record.state is not None:
            boot["mission"] = boot["mission"] or (record.state.mission if record.state else None)
            continue
        boot["events"] += 1
        match record.event:
            case events.BootStarted(mission=mission):
                boot["mission"] = mission
            case events.HandshakeCompleted(result=result):
                boot["handshake"] = result.get("status")
            case events.ShutdownRequested(reason=reason):
                boot["stopped"] = reason
            case event if hasattr(event, "component"):
                _count(boot["components"].setdefault(event.component, _nothing_yet()), event)
            case _:
                pass
    return list(boots.values())


def _nothing_yet() -> dict[str, Any]:
    return {"starts": 0, "exits": 0, "failed_probes": 0, "repairs": 0, "last": ""}


def _count(component: dict[str, Any], event: Any) -> None:
    match event:
        case events.Spawned():
            component["starts"] += 1
        case events.Exited() | events.LaunchFailed():
            component["exits"] += 1
        case events.ProbeFailed():
            component["failed_probes"] += 1
        case events.RepairFinished():
            component["repairs"] += 1
        case _:
            pass
    component["last"] = one_line(_component_event(event))


def main(argv: list[str], *, now: float) -> int:
    """``python -m razar.mission_logger``: print the journal. Exit 1: there is none, 2: usage."""
    import argparse
    import os
    import sys

    parser = argparse.ArgumentParser(prog="python -m razar.mission_logger", description=__doc__)
    parser.add_argument("what", choices=("summary", "timeline"), help="per boot, or every event")
    parser.add_argument("--logs", default="logs", metavar="DIR", help="folder of the journal (default: logs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    path = os.path.join(arguments.logs, "razar_journal.jsonl")
    found = segments(path)
    if not found:
        print(f"no journal at {path}: no mission has been booted there (see --logs)", file=sys.stderr)
        return 1
    records: list[Record] = []
    unreadable = False
    for segment in found:
        more, problems = read(segment)
        records += more
        for problem in problems:
            unreadable = unreadable or "cannot be read" in problem
            print(f"warning: {one_line(problem)}", file=sys.stderr)
    _print(arguments.what, records, as_json=arguments.json, now=now)
    return 1 if unreadable else 0


def _print(what: str, records: list[Record], *, as_json: bool, now: float) -> None:
    if what == "timeline":
        for record in records:
            line = (
                msgspec.json.encode(entry(record)).decode()
                if as_json
                else f"{utc(record.at)} {describe(record)}"
            )
            print(line)
        return
    boots = summarise(records)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode({"printed": utc(now), "boots": boots})).decode())
        return
    for boot in boots:
        stopped = f"stopped: {boot['stopped']}" if boot["stopped"] else f"last event {boot['last']}"
        print(
            one_line(
                f"{boot['began']} mission {boot['mission']} ({boot['boot']}): "
                f"{boot['events']} events, {stopped}"
            )
        )
        if boot["handshake"]:
            print(f"  Crown: {one_line(str(boot['handshake']))}")
        width = max(map(len, boot["components"]), default=0)
        for id, seen in boot["components"].items():
            print(
                one_line(
                    f"  {id:<{width}}  {seen['starts']} starts, {seen['exits']} exits, "
                    f"{seen['failed_probes']} failed probes, {seen['repairs']} repairs; last: {seen['last']}"
                )
            )
