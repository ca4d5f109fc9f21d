"""What the operator sees: plain lines, one JSON object a line, or a live table on a terminal."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from select import select
from threading import Condition, Thread
from typing import Any, Protocol, TextIO

import msgspec

from razar.engine.facts import Fact
from razar.engine.state import MissionState
from razar.projections.wording import Level, Line, lines_of
from razar.utils.encoding import encode_json
from razar.utils.redaction import one_line
from razar.utils.times import utc

__all__ = ["Console", "JsonConsole", "PlainConsole", "Printer", "make_console"]

#: Lines that wait for a terminal that does not take them; beyond them the oldest are dropped.
BACKLOG = 10_000
#: Seconds that ``close`` waits for a terminal to take the rest.
PATIENCE = 2.0


class Console(Protocol):
    """Shows what happens. Nothing here raises for, or waits for, what it writes to."""

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        """Show a fact."""

    def line(self, level: Level, text: str) -> None:
        """Show a line that is no fact."""

    def progress(self, layer: str, text: str) -> None:
        """Show how far the environment of a layer is."""

    def flush(self) -> None:
        """Wait, but not for ever, until everything is shown."""

    def close(self) -> None:
        """Show what is left and end."""


class Printer:
    """Writes lines from a thread: a terminal that was stopped or a full pipe must not stop the mission."""

    def __init__(self) -> None:
        self._lines: deque[tuple[TextIO, str]] = deque(maxlen=BACKLOG)
        self._changed = Condition()
        self._closing = False
        self._idle = True
        self._broken: set[int] = set()
        self._thread: Thread | None = None

    def put(self, stream: TextIO, text: str) -> None:
        """Have a line written; ``text`` has no newline at its end."""
        with self._changed:
            self._lines.append((stream, text))
            if self._thread is None:
                self._thread = Thread(target=self._work, name="razar-console", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float = PATIENCE) -> None:
        """Wait until everything is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle and not self._lines, timeout if self._thread else 0.0)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                if not self._lines:
                    return
                batch = list(self._lines)
                self._lines.clear()
                self._idle = False
            for stream, lines in groupby(batch, key=itemgetter(0)):
                if id(stream) not in self._broken:
                    self._write(stream, "".join(f"{text}\n" for _, text in lines))
            with self._changed:
                self._idle = True
                self._changed.notify_all()

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            try:
                fd = stream.fileno()
            except (OSError, ValueError, AttributeError):
                stream.write(text)
                return
            # Past the stream's buffer: a thread that hangs in it would abort the interpreter's exit.
            _write_all(fd, text.encode(stream.encoding or "utf-8", "backslashreplace"))
        except (OSError, ValueError):
            # Nobody reads any more.
            self._broken.add(id(stream))


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            # Somebody has made the terminal non-blocking.
            select([], [fd], [])


class PlainConsole:
    """Lines: what happened on ``out``, what went wrong on ``err``."""

    def __init__(self, mission: str, out: TextIO, err: TextIO, verbosity: int = 0) -> None:
        self._mission = mission
        self._out = out
        self._err = err
        self._verbosity = verbosity
        self._printer = Printer()

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        for line in lines_of(fact, self._mission, state):
            self._show(line)

    def line(self, level: Level, text: str) -> None:
        self._show(Line(level, one_line(text)))

    def progress(self, layer: str, text: str) -> None:
        if self._verbosity >= 0:
            self._printer.put(self._out, f"{layer}: {one_line(text)}")

    def flush(self) -> None:
        self._printer.flush()

    def close(self) -> None:
        self._printer.close()

    def _show(self, line: Line) -> None:
        if line.level == "INFO":
            if self._verbosity > 0 or (self._verbosity == 0 and not line.detail):
                self._printer.put(self._out, line.text)
        elif line.level == "ERROR" or self._verbosity >= 0:
            self._printer.put(self._err, line.text if line.tail else f"{line.level} {line.text}")


class JsonConsole:
    """One JSON object a line on ``out``: every fact, line and progress; errors also on ``err``."""

    def __init__(self, mission: str, out: TextIO, err: TextIO, verbosity: int = 0) -> None:
        self._mission = mission
        self._out = out
        self._err = err
        self._verbosity = verbosity
        self._printer = Printer()

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        body = msgspec.to_builtins(fact)
        for key in ("error", "reason"):
            if body.get(key) is not None:
                body[key] = one_line(body[key])
        if "tail" in body:
            body["tail"] = [one_line(line) for line in body["tail"]]
        self._put({"fact": type(fact).__name__, "mission": self._mission, "time": utc(fact.at), **body})
        for line in lines_of(fact, self._mission, state):
            if line.level == "ERROR":
                self._printer.put(self._err, line.text if line.tail else f"ERROR {line.text}")

    def line(self, level: Level, text: str) -> None:
        if self._verbosity < 0 and level != "ERROR":
            return
        self._put({"fact": "Line", "level": level, "text": one_line(text)})
        if level == "ERROR":
            self._printer.put(self._err, f"ERROR {one_line(text)}")

    def progress(self, layer: str, text: str) -> None:
        if self._verbosity >= 0:
            self._put({"fact": "Progress", "layer": layer, "text": one_line(text)})

    def flush(self) -> None:
        self._printer.flush()

    def close(self) -> None:
        self._printer.close()

    def _put(self, body: dict[str, Any]) -> None:
        self._printer.put(self._out, encode_json(body).decode())


def make_console(
    mission: str,
    components: Iterable[str] = (),
    *,
    json: bool = False,
    verbosity: int = 0,
    out: TextIO | None = None,
    err: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    find: Callable[[str], object | None] | None = None,
) -> Console:
    """The console for the way RAZAR was started. ``verbosity``: -1 errors only, 0, 1 and more.

    A terminal that can move its cursor gets the live table (if ``rich`` is there, which ``find``
    says), everything else plain lines.
    """
    out = out or sys.stdout or _nowhere()
    err = err or sys.stderr or _nowhere()
    if json:
        return JsonConsole(mission, out, err, verbosity)
    if verbosity == 0 and _is_screen(out, environ):
        from importlib.util import find_spec

        if (find or find_spec)("rich") is not None:
            from razar.projections.console_live import LiveConsole

            return LiveConsole(mission, tuple(components), out, err)
    return PlainConsole(mission, out, err, verbosity)


def _nowhere() -> TextIO:
    # Both standard streams may be None in a detached process; this one lives as long as it does.
    return open(os.devnull, "w", encoding="utf-8")


def _is_screen(stream: TextIO, environ: Mapping[str, str]) -> bool:
    try:
        return stream.isatty() and environ.get("TERM", "dumb") not in ("", "dumb")
    except (OSError, ValueError):
        return False
