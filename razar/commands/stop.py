"""Stop components, or the whole mission, and wait until they have stopped.

Without an ID the whole mission stops in reverse order; the command returns when its supervisor has
ended. A mission that is not running needs no stop: exit code 0; what a supervisor that was killed
has left behind is stopped then. A component that was stopped stays so until ``razar restart``.
"""

from __future__ import annotations

import argparse
import time

from razar.boot.mission_lock import AlreadyRunningError
from razar.cli import EXIT_UNKNOWN, EXIT_USAGE
from razar.control.client import Connection, NotRunningError, RefusedError, UnresponsiveError, connect
from razar.operator.mission import ending
from razar.operator.no_boot import no_boot
from razar.operator.output import complain, print_json
from razar.operator.request import Progress, add_timeout, request_components, tell_refusal

__all__ = ["add_arguments", "run"]

#: Seconds that a supervisor gets to its end whose socket is closed already: it still has to write to the disk.
ENDING = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="a component (default: the whole mission)")
    parser.add_argument(
        "--now", action="store_true", help="reduce every grace period to zero (whole mission only)"
    )
    add_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop; return the exit code."""
    if arguments.ids and arguments.now:
        complain("--now is for a stop of the whole mission; leave the ids out")
        return EXIT_USAGE
    if arguments.ids:
        return request_components(arguments, "stop", arguments.ids)
    patience = ENDING if arguments.timeout is None else max(1.0, min(ENDING, arguments.timeout))
    try:
        with connect(arguments.logs, patience=patience) as connection:
            try:
                return _stop_mission(arguments, connection)
            except UnresponsiveError:
                # Somebody else's stop may just have ended the supervisor we spoke to.
                if not connection.wait_until_gone(arguments.logs, patience):
                    raise
            return _not_running(arguments, f"no mission runs with the logs folder {arguments.logs}")
    except NotRunningError as fault:
        return _not_running(arguments, str(fault))
    except UnresponsiveError as fault:
        complain(str(fault))
        return EXIT_UNKNOWN
    except RefusedError as fault:
        return tell_refusal(arguments, fault)


def _stop_mission(arguments: argparse.Namespace, connection: Connection) -> int:
    began = time.monotonic()
    progress = Progress()
    result = connection.request("stop", timeout=arguments.timeout, hurry=arguments.now, on_progress=progress)
    left = None if arguments.timeout is None else max(0.0, arguments.timeout - (time.monotonic() - began))
    if not connection.wait_until_gone(arguments.logs, 1.0 if left is None else min(left, 1.0)):
        progress(
            {"waiting": [{"id": "the supervisor", "state": "ending", "holders": [f"pid {connection.pid}"]}]}
        )
        if not connection.wait_until_gone(arguments.logs, None if left is None else max(0.0, left - 1.0)):
            complain(f"every component has stopped, but not the supervisor (pid {connection.pid})")
            return 1
    if arguments.json:
        print_json({"ok": True, **result})
    else:
        print(f"mission {result['mission']}: stopped")
    return 0


def _not_running(arguments: argparse.Namespace, message: str) -> int:
    """Stop what a supervisor that was killed has left behind, if there is anything."""
    if ending(None, arguments.logs).clean:
        return _tell(arguments, message, {}, [])
    from razar.operator.leftovers import describe_leftovers, find_leftovers, stop_leftovers

    try:
        with no_boot(arguments.logs):  # One that begins now would look for the same processes.
            found = find_leftovers(arguments.logs)
            if found:
                complain(
                    f"its supervisor was killed and left behind: {describe_leftovers(found)}; stopping them"
                )
            withstood = stop_leftovers(found)
    except AlreadyRunningError:
        complain("a boot has begun in this instant; try again")
        return EXIT_UNKNOWN
    except OSError as fault:
        complain(f"cannot open {fault.filename}: {fault.strerror}")
        return 1
    stopped = {id: [process.pid for process in processes] for id, processes in found.items()}
    return _tell(arguments, message, stopped, [process.pid for process in withstood])


def _tell(
    arguments: argparse.Namespace, message: str, found: dict[str, list[int]], withstood: list[int]
) -> int:
    if arguments.json:
        print_json({"ok": not withstood, "running": False, "leftovers": found, "withstood": withstood})
    else:
        print(message)
        if found:
            print(f"stopped what was left of {', '.join(found)}")
    if withstood:
        complain(f"these processes cannot be stopped: pid {', pid '.join(map(str, withstood))}")
    return 1 if withstood else 0
