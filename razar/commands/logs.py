"""Show what components have written, rotated files included.

Lines of several components are merged by the time they begin with (ISO 8601, UTC unless they say
otherwise); a line without a time stays behind the one before it. With one component the lines come
as they were written, otherwise each is prefixed with its component.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from razar.cli import EXIT_USAGE
from razar.operator.arguments import count, instant
from razar.operator.logs import LogReader, instant_of
from razar.operator.mission import known_ids, log_folders, unknown_ids
from razar.operator.output import complain, paint

__all__ = ["add_arguments", "run"]

#: Seconds between two looks at the files, and at which components there are.
POLL = 0.1
RESCAN = 1.0
_COLOURS = ("cyan", "green", "yellow", "blue", "red")


class _Line(NamedTuple):
    """``order`` is the time that sorts the line, ``at`` the one it has itself."""

    order: float
    component: str
    text: bytes
    at: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="a component (default: all)")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is written, until Ctrl-C"
    )
    parser.add_argument(
        "-n", "--lines", type=count, metavar="N", help="the last N lines of each (default: all; 10 with -f)"
    )
    parser.add_argument(
        "--since", type=instant, metavar="TIME", help="from 10m, 2h, 1d ago, or 2025-09-21T00:00:00Z on"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the lines; return the exit code."""
    folder = os.path.join(arguments.logs, "components")
    known = known_ids(arguments.logs)
    if arguments.ids and unknown_ids(arguments.ids, known):
        return EXIT_USAGE
    if not known and not arguments.follow:
        complain(f"no component has written anything to {folder}")
        return 1
    ids = list(dict.fromkeys(arguments.ids or known))
    lines = arguments.lines if arguments.lines is not None or not arguments.follow else 10
    printer = _Printer(arguments, ids)
    readers: dict[str, LogReader] = {}
    for id in ids:
        readers[id] = LogReader(os.path.join(folder, id))
        readers[id].start(lines, arguments.since or 0.0, follow=arguments.follow)
    printer.print(
        heapq.merge(*(_lines(id, reader, arguments.since) for id, reader in readers.items()), key=_order)
    )
    if not arguments.follow:
        printer.print(_Line(0.0, id, rest, None) for id, reader in readers.items() if (rest := reader.rest()))
        return 0
    scanned = time.monotonic()
    while True:
        sys.stdout.flush()
        time.sleep(POLL)
        for id, reader in readers.items():
            printer.print(_lines(id, reader, None))
        if not arguments.ids and time.monotonic() > scanned + RESCAN:
            scanned = time.monotonic()
            for id in log_folders(arguments.logs):
                if id not in readers:
                    readers[id] = LogReader(os.path.join(folder, id))
                    printer.add(id)


def _order(line: _Line) -> float:
    return line.order


def _lines(component: str, reader: LogReader, since: float | None) -> Iterator[_Line]:
    """Give the lines of one component in the order in which they sort."""
    order, wanted = 0.0, True
    for text in reader.lines():
        at = instant_of(text)
        if at is not None:
            order = max(order, at)
            wanted = since is None or at >= since
        if wanted:
            yield _Line(order, component, text, at)


class _Printer:
    """Writes lines as JSON, as they are, or with their component before them."""

    def __init__(self, arguments: argparse.Namespace, ids: list[str]) -> None:
        self._json: bool = arguments.json
        self._alone = len(arguments.ids) == 1 or (len(ids) == 1 and not arguments.follow)
        self._prefixes: dict[str, bytes] = {}
        self._width = max(map(len, ids), default=0)
        for id in ids:
            self.add(id)

    def add(self, id: str) -> None:
        """Get to know a component."""
        colour = _COLOURS[len(self._prefixes) % len(_COLOURS)]
        self._width = max(self._width, len(id))
        self._prefixes[id] = (
            b"" if self._alone else os.fsencode(paint(f"{id:<{self._width}} |", colour)) + b" "
        )

    def print(self, lines: Iterable[_Line]) -> None:
        """Write lines."""
        out = sys.stdout.buffer
        for line in lines:
            if self._json:
                entry = {
                    "component": line.component,
                    "at": line.at,
                    "line": line.text.decode(errors="replace"),
                }
                out.write(json.dumps(entry).encode("ascii") + b"\n")
            else:
                out.write(self._prefixes[line.component] + line.text + b"\n")
