"""List and show repairs, decide about those that wait, undo those that were applied, pause all of it.

``approve`` applies a patch and relaunches its component with it; exit code 1 if that does not become
healthy, in which case the patch is undone. ``rollback`` restores every file, and restarts the component if
it runs. Both work on a mission that is not running, too: then the next boot starts from what they left.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from agents.razar.escalation import switches
from agents.razar.patching.refusal import Refusal
from razar.boot.mission_lock import AlreadyRunningError
from razar.cli import EXIT_UNKNOWN, EXIT_USAGE, add_shared
from razar.control.client import NotRunningError, RefusedError, UnresponsiveError, connect, supervisor
from razar.operator import repairs
from razar.operator.no_boot import no_boot
from razar.operator.output import clean, complain, paint, print_json, print_table
from razar.operator.request import Progress, add_timeout, tell_refusal

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every repair, oldest first")
    show = actions.add_parser("show", help="one of them: diff, tests, protection, state")
    approve = actions.add_parser("approve", help="apply a patch that waits, and relaunch its component")
    reject = actions.add_parser("reject", help="turn down a patch that waits")
    rollback = actions.add_parser("rollback", help="undo a patch that was applied")
    pause = actions.add_parser("pause", help="hand nothing to any agent until resume")
    actions.add_parser("resume", help="allow handovers again")
    for action in (show, approve, reject, rollback):
        action.add_argument("id", metavar="ID", help="the id that list prints")
    for action in (reject, rollback, pause):
        action.add_argument("--note", help="why, for the record")
    for action in (approve, rollback):
        add_timeout(action)
    for action in actions.choices.values():
        add_shared(action)


def run(arguments: argparse.Namespace) -> int:
    """Do it; return the exit code."""
    try:
        match arguments.action:
            case "list":
                return _list(arguments)
            case "show":
                return _show(arguments)
            case "pause" | "resume":
                return _switch(arguments)
        repairs.describe(arguments.logs, arguments.id)  # Refuses what is no repair, before anybody is asked.
        return _decide(arguments)
    except Refusal as fault:
        complain(str(fault))
        return EXIT_USAGE


def _list(arguments: argparse.Namespace) -> int:
    found, paused = repairs.listing(arguments.logs), switches.paused(arguments.logs)
    if arguments.json:
        print_json({"paused": paused, "repairs": found})
        return 0
    if found:
        rows = [
            (
                entry["id"],
                entry["component"],
                entry["state"],
                entry.get("agent") or "",
                ", ".join(entry.get("files") or [entry.get("error", "")]),
            )
            for entry in found
        ]
        print_table(("ID", "COMPONENT", "STATE", "AGENT", "FILES"), rows)
    else:
        print("there are no repairs")
    if paused is not None:
        print(clean(f"repair is paused: {paused}"))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    found = repairs.details(arguments.logs, arguments.id)
    if arguments.json:
        print_json(found)
        return 0
    for name in ("id", "component", "state", "agent", "attempt", "at", "reason"):
        if found.get(name) is not None:
            first, *rest = str(found[name]).splitlines() or [""]
            print(f"{name + ':':<12}{clean(first)}")
            for line in rest:
                print(f"{'':<12}{clean(line)}")
    for test in found.get("tests") or ():
        end = "killed at its time limit" if test.get("exit") is None else f"exit {test['exit']}"
        print(clean(f"{'test:':<12}{test.get('command')}: {end}, {test.get('seconds', 0):.2f} s"))
    if found.get("protection"):
        print(clean(f"{'sandbox:':<12}{found['protection'].get('mode', 'none')}"))
    if found.get("proven"):
        print(clean(f"{'tested:':<12}{', '.join(found['proven'])}"))
    for line in (found.get("diff") or "").splitlines():
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        print(paint(clean(line), colour))
    if found["state"] == "waits":
        print(f"\nrazar repairs approve {arguments.id}   or   razar repairs reject {arguments.id}")
    return 0


def _switch(arguments: argparse.Namespace) -> int:
    if arguments.action == "pause":
        switches.pause(arguments.logs, arguments.note or "paused by the operator")
        changed, words = True, "paused: nothing is handed over until `razar repairs resume`"
    else:
        changed = switches.resume(arguments.logs)
        words = "resumed" if changed else "repair was not paused"
    if arguments.json:
        print_json({"ok": True, "paused": switches.paused(arguments.logs), "changed": changed})
    else:
        print(words)
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    if supervisor(arguments.logs) is None:
        return _decide_alone(arguments)
    try:
        with connect(arguments.logs) as connection:
            result = connection.request(
                arguments.action,
                patch=arguments.id,
                note=getattr(arguments, "note", None),
                timeout=getattr(arguments, "timeout", None),
                on_progress=Progress(),
            )
    except NotRunningError:
        return _decide_alone(arguments)  # It has ended in this instant.
    except UnresponsiveError as fault:
        complain(str(fault))
        return EXIT_UNKNOWN
    except RefusedError as fault:
        return tell_refusal(arguments, fault)
    _tell(
        arguments, result.get("foreign") or (), [entry["state"] for entry in result.get("components") or ()]
    )
    return 0


def _decide_alone(arguments: argparse.Namespace) -> int:
    """Nothing runs, so nothing has to be relaunched: what the operator vouches for is kept."""
    from agents.razar.patching import decisions

    note = getattr(arguments, "note", None) or f"{arguments.action} by the operator"
    foreign: tuple[str, ...] = ()

    def approve() -> None:
        decisions.approve(arguments.id, logs=arguments.logs)
        decisions.keep(arguments.id, logs=arguments.logs)

    def rollback() -> None:
        nonlocal foreign
        foreign = decisions.rollback(arguments.id, logs=arguments.logs, reason=note)

    actions: dict[str, Callable[[], None]] = {
        "approve": approve,
        "reject": lambda: decisions.reject(arguments.id, logs=arguments.logs, reason=note),
        "rollback": rollback,
    }
    try:
        with no_boot(arguments.logs):
            actions[arguments.action]()
    except AlreadyRunningError:
        complain("a boot has begun in this instant; try again")
        return EXIT_UNKNOWN
    except Refusal as fault:
        complain(str(fault))
        return 1
    _tell(arguments, foreign, [])
    return 0


def _tell(arguments: argparse.Namespace, foreign: tuple[str, ...] | list[str], states: list[str]) -> None:
    found = repairs.describe(arguments.logs, arguments.id)
    if arguments.json:
        print_json(
            {"ok": True, **found, "foreign": list(foreign), "component_state": next(iter(states), None)}
        )
        return
    running = f", {found['component']} is {states[0]}" if states else ""
    print(clean(f"{found['id']}: {found['state']}{running}"))
    for path in foreign:
        complain(f"{path} had been changed since; what it held is in repairs/{found['id']}/found")
