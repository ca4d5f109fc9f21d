"""The live table of a boot on a terminal, drawn by ``rich`` in a thread of its own.

ERROR Health check failed for basic_service
ERROR basic_service: exited with code 1 before it was healthy
    | OSError: [Errno 98] Address already in use
WARN basic_service: restart in 0.52 s
web              environment        resolved 14 packages
basic_service    backoff     0.3 s  exited with code 1 before it was healthy
complex_service  igniting    1.2 s
crown_router     running     0.1 s
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Literal, TextIO

from razar.console import BACKLOG, PATIENCE, PlainConsole
from razar.engine.facts import Fact, MissionSettled, MissionStopped, Transition
from razar.engine.state import MissionState
from razar.projections.wording import Level, Line, lines_of
from razar.utils.redaction import one_line

if TYPE_CHECKING:
    from rich.console import Console as Screen
    from rich.console import RenderableType

__all__ = ["Board", "LiveConsole"]

#: Seconds between two pictures.
FRAME = 0.1
#: Seconds that the end of a boot waits for ``rich``, on a disk or a machine that is slow.
IMPORT = 30.0
#: Rows; of a larger mission those that need attention are shown, and how many others there are.
ROWS = 24

_STYLES = {
    "running": "green",
    "completed": "green",
    "igniting": "cyan",
    "stopping": "cyan",
    "pending": "dim",
    "skipped": "dim",
    "stopped": "dim",
    "held": "yellow",
    "backoff": "yellow",
    "repairing": "yellow",
    "blocked": "yellow",
    "unhealthy": "red",
    "failed": "red",
    "quarantined": "red",
}
_CALM = frozenset({"running", "completed", "pending", "skipped", "stopped"})


class Board:
    """What the table says, by component: (state, epoch seconds since when, seconds it took, error)."""

    def __init__(self, mission: str, components: tuple[str, ...]) -> None:
        self.mission = mission
        self.rows: dict[str, tuple[str, float, float, str]] = dict.fromkeys(
            components, ("pending", 0.0, 0.0, "")
        )
        self.progress: dict[str, str] = {}

    def fact(self, fact: Transition) -> None:
        """Take a transition into the table."""
        if fact.cause == "spawned":
            return
        took = fact.seconds if fact.before == "igniting" else 0.0
        error = one_line(fact.error, 200) if fact.error else ""
        self.rows[fact.component] = (fact.after, fact.at, took, error)

    def shown(self) -> tuple[list[str], int]:
        """The components to show, and how many others there are."""
        if len(self.rows) <= ROWS:
            return list(self.rows), 0
        restless = [id for id, row in self.rows.items() if row[0] not in _CALM][:ROWS]
        return restless, len(self.rows) - len(restless)

    def picture(self, now: float) -> RenderableType:
        """The table as it is at an instant."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True)
        for layer, text in self.progress.items():
            table.add_row(Text(layer), Text("environment", style="cyan"), "", Text(text, style="dim"))
        ids, others = self.shown()
        for id in ids:
            state, since, took, error = self.rows[id]
            seconds = took or (max(0.0, now - since) if state not in _CALM else 0.0)
            table.add_row(
                Text(id),
                Text(state, style=_STYLES.get(state, "")),
                Text(f"{seconds:.1f} s" if seconds else "", style="dim"),
                Text(error, style="red" if state not in _CALM else "dim"),
            )
        if others:
            counts: dict[str, int] = {}
            for state, *_ in self.rows.values():
                counts[state] = counts.get(state, 0) + 1
            summary = ", ".join(f"{count} {state}" for state, count in counts.items())
            table.add_row(Text(self.mission), Text(f"{len(self.rows)} components"), "", Text(summary))
        return table


class LiveConsole:
    """A table while the mission boots, plain lines from then on.

    Warnings and errors scroll by above the table. ``rich`` is imported by the thread that draws,
    so that the first ignition does not wait for it; nothing here waits for that or the terminal
    but ``flush`` and ``close``.
    """

    def __init__(self, mission: str, components: tuple[str, ...], out: TextIO, err: TextIO) -> None:
        self._mission = mission
        self._out = out
        self._err = out if err.isatty() else err
        self._plain = PlainConsole(mission, out, err)
        self._board = Board(mission, components)
        self._above: deque[Line] = deque(maxlen=BACKLOG)
        #: What is to be said when the last picture has been drawn.
        self._later: deque[Callable[[], None]] = deque(maxlen=BACKLOG)
        self._mode: Literal["live", "ending", "plain"] = "live"
        self._changed = Condition()
        self._imported = Event()
        self._thread = Thread(target=self._work, name="razar-live", daemon=True)
        self._thread.start()

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        with self._changed:
            if self._mode != "live":
                self._say(lambda: self._plain.fact(fact, state))
                return
            if isinstance(fact, Transition):
                self._board.fact(fact)
            lines = lines_of(fact, self._mission, state)
            self._above.extend(line for line in lines if line.level != "INFO")
            if isinstance(fact, MissionSettled | MissionStopped):
                self._end()
                if isinstance(fact, MissionStopped):
                    self._say(lambda: self._plain.fact(fact, state))
                elif fact.outcome == "complete":
                    text = f"Mission {self._mission} complete in {fact.seconds:.2f} s"
                    self._say(lambda: self._plain.line("INFO", text))

    def line(self, level: Level, text: str) -> None:
        with self._changed:
            if self._mode == "live":
                self._above.append(Line(level, one_line(text)))
            else:
                self._say(lambda: self._plain.line(level, text))

    def progress(self, layer: str, text: str) -> None:
        with self._changed:
            if self._mode == "live":
                self._board.progress[layer] = one_line(text, 200)
            else:
                self._say(lambda: self._plain.progress(layer, text))

    def flush(self) -> None:
        with self._changed:
            ending = self._mode == "ending"
        if ending:
            self._wait()
        self._plain.flush()

    def close(self) -> None:
        with self._changed:
            self._end()
        self._wait()
        self._plain.close()

    def _wait(self) -> None:
        """Wait for the last picture: a terminal may not take it, an import takes its time and ends."""
        self._imported.wait(IMPORT)
        self._thread.join(PATIENCE)

    def _say(self, action: Callable[[], None]) -> None:
        if self._mode == "plain":
            action()
        else:
            self._later.append(action)

    def _end(self) -> None:
        """Have the last picture drawn and leave the screen to plain lines."""
        if self._mode == "live":
            self._mode = "ending"
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            # A stream of our own: a thread that hangs in sys.stdout would abort the interpreter's exit.
            with open(os.dup(self._out.fileno()), "w", encoding=self._out.encoding, errors="replace") as out:
                self._draw(out)
        except (OSError, ValueError):
            # The terminal is gone; the mission is not.
            pass
        finally:
            self._imported.set()
            with self._changed:
                self._mode = "plain"
                for action in self._later:
                    action()
                self._later.clear()

    def _draw(self, out: TextIO) -> None:
        from rich.console import Console as Screen
        from rich.live import Live
        from rich.table import Table  # noqa: F401 - while a picture is made, facts have to wait
        from rich.text import Text

        self._imported.set()
        screen = Screen(file=out, highlight=False, markup=False, emoji=False)
        others = screen if self._err is self._out else Screen(file=self._err, highlight=False, markup=False)
        with Live(console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            over = False
            while not over:
                with self._changed:
                    # The clocks of the table advance as long as it stands.
                    self._changed.wait_for(lambda: self._mode == "ending", FRAME)
                    over = self._mode == "ending"
                    lines = list(self._above)
                    self._above.clear()
                    if over:
                        self._board.progress.clear()
                    picture = self._board.picture(time.time())
                live.update(picture)
                for target, level, text in _grouped(lines, screen, others):
                    target.print(Text(text, style="red" if level == "ERROR" else ""))
                live.refresh()


def _grouped(lines: list[Line], screen: Screen, others: Screen) -> Iterator[tuple[Screen, Level, str]]:
    """Lines of one level together, so that the table is drawn once for all of them."""
    for level, group in groupby(lines, key=attrgetter("level")):
        text = "\n".join(
            line.text if line.tail or level == "INFO" else f"{level} {line.text}" for line in group
        )
        yield (screen if level == "INFO" else others), level, text
