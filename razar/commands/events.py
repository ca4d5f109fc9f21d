"""Show what happened, from the journal: of the last boot, or of all that are kept."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator

import msgspec

from razar.cli import EXIT_USAGE
from razar.engine import events
from razar.mission_logger import Record
from razar.operator.arguments import count
from razar.operator.journal import JournalFollower, last_boot, read_all
from razar.operator.mission import JOURNAL_NAME, unknown_ids
from razar.operator.output import complain, paint
from razar.projections.timeline import describe, entry
from razar.utils.times import utc_micro

__all__ = ["add_arguments", "run"]

POLL = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=count, metavar="N", help="only the last N")
    parser.add_argument(
        "--all", action="store_true", help="of every boot that is kept, not only of the last one"
    )
    parser.add_argument(
        "--component",
        action="append",
        metavar="ID",
        default=None,
        help="only of this component; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the events; return the exit code."""
    path = os.path.join(arguments.logs, JOURNAL_NAME)
    records, problems = read_all(path)
    for problem in problems:
        complain(problem)
    if not records and not arguments.follow:
        complain(f"there is no journal in {arguments.logs}: no mission has been booted there (see --logs)")
        return 1
    ids = {component for record in records if (component := _component(record)) is not None}
    if arguments.component and not arguments.follow and unknown_ids(arguments.component, ids):
        return EXIT_USAGE
    chosen = [
        record for record in (records if arguments.all else last_boot(records)) if _wanted(record, arguments)
    ]
    if arguments.lines is not None:
        chosen = chosen[max(0, len(chosen) - arguments.lines) :]
    _print(chosen, arguments)
    if arguments.follow:
        follower = JournalFollower(path, records[-1].seq if records else 0)
        while True:
            _print(_filter(follower.records(), arguments), arguments)
            sys.stdout.flush()
            time.sleep(POLL)
    return 0


def _filter(records: Iterable[Record], arguments: argparse.Namespace) -> Iterator[Record]:
    return (record for record in records if _wanted(record, arguments))


def _wanted(record: Record, arguments: argparse.Namespace) -> bool:
    return not arguments.component or _component(record) in arguments.component


def _component(record: Record) -> str | None:
    return getattr(record.event, "component", None)


def _print(records: Iterable[Record], arguments: argparse.Namespace) -> None:
    for record in records:
        if arguments.json:
            sys.stdout.write(msgspec.json.encode(entry(record)).decode() + "\n")
        else:
            at = utc_micro(record.at)
            sys.stdout.write(f"{at[:-4]}Z  {paint(describe(record), _colour(record))}\n")


def _colour(record: Record) -> str | None:
    match record.event:
        case events.BootStarted():
            return "bold" if record.state is None else None
        case events.LaunchFailed() | events.Exited(signal=str()):
            return "red"
        case events.Exited(code=int(code)) if code:
            return "red"
        case events.ProbeFailed():
            return "yellow"
        case events.ProbePassed():
            return "green"
        case _:
            return None
