"""List, show and release the components that were given up.

``release`` of a running mission starts the component and waits until it is healthy (exit code 1 if
it does not become so); of a mission that is not running it will be ignited by the next boot.
"""

from __future__ import annotations

import argparse
import os
import sys

from razar.boot.mission_lock import AlreadyRunningError
from razar.cli import EXIT_UNKNOWN, EXIT_USAGE, add_shared
from razar.control.client import supervisor
from razar.operator.mission import known_ids, unknown_ids
from razar.operator.no_boot import no_boot
from razar.operator.output import complain, print_json, print_table
from razar.operator.request import add_timeout, request_components
from razar.quarantine_manager import Entry, QuarantineManager
from razar.utils.times import utc

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every component in quarantine")
    show = actions.add_parser("show", help="one of them, with what to do about it")
    show.add_argument("ids", nargs=1, metavar="ID")
    release = actions.add_parser("release", help="let a component be ignited again")
    release.add_argument("ids", nargs=1, metavar="ID")
    release.add_argument("--note", default="released by the operator", help="why, for docs/quarantine_log.md")
    add_timeout(release)
    for action in actions.choices.values():
        add_shared(action)


def run(arguments: argparse.Namespace) -> int:
    """Do it; return the exit code."""
    manager = QuarantineManager(_mission_folder(arguments), arguments.logs, report=complain)
    if arguments.action == "list":
        return _list(manager.current(), arguments.json)
    if unknown_ids(arguments.ids, {*known_ids(arguments.logs), *manager.current()}):
        return EXIT_USAGE
    if arguments.action == "show":
        return _show(manager.current(), arguments)
    return _release(manager, arguments)


def _mission_folder(arguments: argparse.Namespace) -> str:
    """The folder of the configuration, which docs/ and, by default, logs/ lie in."""
    if arguments.config is not None:
        return os.path.dirname(os.path.abspath(str(arguments.config)))
    here = os.getcwd()
    return here if os.path.exists("boot_config.json") else os.path.dirname(os.path.abspath(arguments.logs))


def _list(entries: dict[str, Entry], as_json: bool) -> int:
    if as_json:
        print_json([_plain(id, entry) for id, entry in entries.items()])
    elif entries:
        rows = [(id, entry.issue_class, utc(entry.since), entry.error) for id, entry in entries.items()]
        print_table(("COMPONENT", "CLASS", "SINCE", "ERROR"), rows)
    else:
        print("nothing is in quarantine")
    return 0


def _plain(id: str, entry: Entry) -> dict[str, str]:
    return {
        "id": id,
        "class": entry.issue_class,
        "since": utc(entry.since),
        "error": entry.error,
        "remediation": entry.remediation,
    }


def _show(entries: dict[str, Entry], arguments: argparse.Namespace) -> int:
    (id,) = arguments.ids
    entry = entries.get(id)
    if entry is None:
        complain(f"{id} is not in quarantine")
        return 1
    if arguments.json:
        print_json(_plain(id, entry))
        return 0
    for name, value in _plain(id, entry).items():
        print(f"{name + ':':<13}{value}")
    print(f"{'log:':<13}{os.path.join(arguments.logs, 'components', id, 'current.log')}")
    print(f"\nWhen it is mended: razar quarantine release {id}")
    return 0


def _release(manager: QuarantineManager, arguments: argparse.Namespace) -> int:
    (id,) = arguments.ids
    if supervisor(arguments.logs) is not None:
        return request_components(arguments, "release", arguments.ids, note=arguments.note)
    if id not in manager.current():
        complain(f"{id} is not in quarantine")
        return 1
    try:
        with no_boot(arguments.logs):  # One that begins now would read the store while it is changed.
            manager.release(id, arguments.note)
    except AlreadyRunningError:
        complain("a boot has begun in this instant; try again")
        return EXIT_UNKNOWN
    except OSError as fault:
        complain(f"cannot open {fault.filename}: {fault.strerror}")
        return 1
    if arguments.json:
        print_json({"ok": True, "components": [{"id": id, "released": True}]})
    else:
        sys.stdout.write(f"{id}: released; the next boot ignites it\n")
    return 0
