"""Show a mission and its components.

The mission is running: exit code 0, also when it is degraded, which a line says. It is not: how
and when it ended, exit code 3. Its supervisor does not answer: the last snapshot, exit code 4.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

from razar.cli import EXIT_NOT_RUNNING, EXIT_UNKNOWN, EXIT_USAGE
from razar.control.client import NotRunningError, RefusedError, UnresponsiveError, connect
from razar.operator.mission import ending, read_snapshot, unknown_ids
from razar.operator.output import age, clean, complain, paint, print_json, print_table
from razar.utils.times import parse_utc, utc

__all__ = ["add_arguments", "run"]

_GOOD = frozenset({"running", "completed", "skipped"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these components, in detail")


def run(arguments: argparse.Namespace) -> int:
    """Print the status; return the exit code."""
    logs: str = arguments.logs
    try:
        with connect(logs) as connection:
            result = connection.request("status", components=arguments.ids or None)
            pid = connection.pid
    except NotRunningError as fault:
        return _not_running(arguments, str(fault))
    except UnresponsiveError as fault:
        complain(str(fault))
        return _last_known(arguments)
    except RefusedError as fault:
        complain(str(fault))
        return EXIT_USAGE if fault.code == "unknown_component" else 1
    supervisor, snapshot = result["supervisor"], result["snapshot"]
    supervisor["pid"] = pid or supervisor["pid"]
    if arguments.json:
        before = read_snapshot(logs) or {}
        if before.get("boot_id") == snapshot.get("boot_id"):
            snapshot["events"] = before.get("events") or []
            snapshot["last_boot"] = snapshot.get("last_boot") or before.get("last_boot")
        print_json({"running": True, "supervisor": supervisor, **snapshot})
        return 0
    _print_header(supervisor, snapshot)
    _print_components(snapshot["components"])
    if arguments.ids:
        _print_details(snapshot["components"], logs)
    return 0


def _not_running(arguments: argparse.Namespace, message: str) -> int:
    snapshot = read_snapshot(arguments.logs)
    end = ending(snapshot, arguments.logs)
    if snapshot is None and end.clean:
        if arguments.json:
            print_json({"running": False, "supervisor": None, "ended": None})
        else:
            complain(message)
        return EXIT_NOT_RUNNING
    snapshot = snapshot or {"mission": None, "components": []}
    if arguments.ids and unknown_ids(arguments.ids, [entry["id"] for entry in snapshot["components"]]):
        return EXIT_USAGE
    components = _chosen(snapshot, arguments.ids)
    left = {} if end.clean else _leftovers(arguments.logs)
    if arguments.json:
        ended = {
            "how": end.how,
            "at": None if end.at is None else utc(end.at),
            "clean": end.clean,
            "leftovers": {id: [process.pid for process in processes] for id, processes in left.items()},
        }
        print_json(
            {**snapshot, "components": components, "running": False, "supervisor": None, "ended": ended}
        )
        return EXIT_NOT_RUNNING
    when = "" if end.at is None else f" {age(time.time() - end.at)} ago ({utc(end.at)})"
    print(f"mission {clean(str(snapshot['mission'] or ''))}: {paint('not running', 'bold')}")
    print(f"{clean(end.how)}{when}")
    if left:
        from razar.operator.leftovers import describe_leftovers

        print(paint(f"still there, without a supervisor: {clean(describe_leftovers(left))}", "red"))
        print("razar stop ends them; so does the next boot before it ignites anything")
    if components:
        print("last known states:")
        _print_components(components)
    return EXIT_NOT_RUNNING


def _leftovers(logs: str) -> dict[str, list[Any]]:
    from razar.operator.leftovers import find_leftovers

    return dict(find_leftovers(logs))


def _last_known(arguments: argparse.Namespace) -> int:
    snapshot = read_snapshot(arguments.logs)
    if arguments.json:
        print_json({"running": None, "supervisor": None, **(snapshot or {})})
    elif snapshot is not None:
        print("last known states:")
        _print_components(_chosen(snapshot, arguments.ids))
    return EXIT_UNKNOWN


def _chosen(snapshot: dict[str, Any], ids: Sequence[str]) -> list[dict[str, Any]]:
    return [entry for entry in snapshot["components"] if not ids or entry["id"] in ids]


def _print_header(supervisor: dict[str, Any], snapshot: dict[str, Any]) -> None:
    phase, outcome = supervisor["phase"], supervisor["outcome"]
    began = supervisor["began"]
    since = f", up {age(time.time() - began)}" if began else ""
    words = {
        "preparing": "preparing (environments, Crown)",
        "igniting": "igniting",
        "settled": "running" if outcome == "complete" else "running, its boot failed",
        "stopping": "stopping",
        "stopped": "stopped",
    }
    state = paint(
        words.get(phase, phase), "green" if phase == "settled" and outcome == "complete" else "yellow"
    )
    print(f"mission {clean(snapshot['mission'])}: {state} (pid {supervisor['pid']}{since})")
    handshake = snapshot.get("handshake") or {}
    if handshake:
        version = handshake.get("crown_version")
        able = ", ".join(map(str, handshake.get("capabilities") or ()))
        parts = [str(handshake.get("status")), f"version {version}" if version else "", able]
        print(clean(f"crown: {'; '.join(part for part in parts if part)}"))
    if supervisor["failing"]:
        print(paint(clean(f"failing: {supervisor['failing']}"), "red"))
    elif phase == "settled":
        bad = [
            f"{entry['id']} is {entry['state']}"
            for entry in snapshot["components"]
            if entry["state"] not in _GOOD
        ]
        if bad:
            print(paint(f"degraded: {', '.join(bad)}", "yellow"))


def _print_components(components: list[dict[str, Any]]) -> None:
    if not components:
        return
    now = time.time()
    rows = [
        (
            entry["id"],
            entry["layer"],
            entry["state"],
            str(entry.get("pid") or "-"),
            str(entry.get("restarts") or 0),
            _since(entry.get("since"), now),
            entry.get("error") or "",
        )
        for entry in components
    ]
    header = ("COMPONENT", "LAYER", "STATE", "PID", "RESTARTS", "SINCE", "ERROR")
    print_table(header, rows, right=("PID", "RESTARTS"), coloured="STATE")


def _since(text: object, now: float) -> str:
    try:
        return age(now - parse_utc(str(text))) if text else "-"
    except ValueError:
        return "-"


def _print_details(components: list[dict[str, Any]], logs: str) -> None:
    for entry in components:
        print(f"\n{paint(entry['id'], 'bold')}: {entry['state']} since {entry['since'] or 'the beginning'}")
        log = os.path.join(logs, "components", entry["id"], "current.log")
        print(f"  incarnation {entry['incarnation']}, log {log}")
        if entry["error"]:
            print(f"  {clean(entry['error'])}")
