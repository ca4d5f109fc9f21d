"""Asks the supervisor to do something to components, and tells how it went."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from razar.cli import EXIT_NOT_RUNNING, EXIT_UNKNOWN, EXIT_USAGE
from razar.control.client import NotRunningError, RefusedError, UnresponsiveError, connect
from razar.operator.arguments import seconds
from razar.operator.output import clean, complain, describe_waiting, paint, print_json

__all__ = ["Progress", "add_timeout", "request_components", "tell_refusal"]


class Progress:
    """Prints who is waited for, on stderr, whenever somebody else is or their state has changed."""

    def __init__(self) -> None:
        self._told: list[object] = []

    def __call__(self, news: Mapping[str, Any]) -> None:
        states: list[object] = [(entry.get("id"), entry.get("state")) for entry in news.get("waiting") or ()]
        if states and states != self._told:
            self._told = states
            print(f"waiting for {describe_waiting(news)}", file=sys.stderr, flush=True)


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Declare ``--timeout``."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help="wait S seconds at most, then exit with 1; what was asked for goes on (default: no limit)",
    )


def request_components(arguments: argparse.Namespace, request: str, ids: list[str], **fields: Any) -> int:
    """Send a request about components, wait for its end, print the outcome; return the exit code."""
    try:
        with connect(arguments.logs) as connection:
            result: Mapping[str, Any] = connection.request(
                request, components=ids, timeout=arguments.timeout, on_progress=Progress(), **fields
            )
    except NotRunningError as fault:
        complain(str(fault))
        return EXIT_NOT_RUNNING
    except UnresponsiveError as fault:
        complain(str(fault))
        return EXIT_UNKNOWN
    except RefusedError as fault:
        return tell_refusal(arguments, fault)
    if arguments.json:
        print_json({"ok": True, **result})
    else:
        _print_components(result["components"])
    return 0


def tell_refusal(arguments: argparse.Namespace, fault: RefusedError) -> int:
    """Print what a supervisor refused or did not reach; return the exit code."""
    if arguments.json:
        print_json(fault.answer)
    else:
        _print_components(entry for entry in fault.answer.get("components") or () if entry["reached"])
    complain(str(fault))
    words = describe_waiting(fault.answer)
    if words:
        complain(f"waiting for {words}")
    return EXIT_USAGE if fault.code in ("bad_request", "unknown_component") else 1


def _print_components(components: Any) -> None:
    for entry in components:
        pid = f", pid {entry['pid']}" if entry["pid"] else ""
        print(clean(f"{entry['id']}: ") + paint(clean(entry["state"]), entry["state"]) + pid)
