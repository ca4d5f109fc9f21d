"""The live table of a boot on a terminal, drawn by ``rich`` in a thread of its own."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING, TextIO

from razar.console import PATIENCE, PlainConsole
from razar.engine.facts import Fact, MissionSettled, MissionStopped, Transition
from razar.engine.state import MissionState
from razar.utils.redaction import one_line
from razar.wording import Level, Line, lines_of

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Board", "LiveConsole"]

#: Seconds between two pictures.
FRAME = 0.1
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

    Warnings and errors scroll by above the table. ``rich`` is imported by the thread, so that the
    first ignition does not wait for it.
    """

    def __init__(self, mission: str, components: tuple[str, ...], out: TextIO, err: TextIO) -> None:
        self._mission = mission
        self._out = out
        self._err = err if not err.isatty() else out
        self._plain = PlainConsole(mission, out, err)
        self._board = Board(mission, components)
        self._above: deque[Line] = deque(maxlen=1000)
        self._changed = Condition()
        self._dirty = True
        self._over = False
        self._thread: Thread | None = Thread(target=self._work, name="razar-live", daemon=True)
        self._thread.start()

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        if self._thread is None:
            self._plain.fact(fact, state)
            return
        lines = lines_of(fact, self._mission, state)
        with self._changed:
            if isinstance(fact, Transition):
                self._board.fact(fact)
            self._above.extend(line for line in lines if line.level != "INFO")
            self._dirty = True
        if isinstance(fact, MissionSettled | MissionStopped):
            self._end()
            if isinstance(fact, MissionSettled) and fact.outcome == "complete":
                self._plain.line("INFO", f"Mission {self._mission} complete in {fact.seconds:.2f} s")
            elif isinstance(fact, MissionStopped):
                self._plain.fact(fact, state)

    def line(self, level: Level, text: str) -> None:
        if self._thread is None:
            self._plain.line(level, text)
            return
        with self._changed:
            self._above.append(Line(level, one_line(text)))
            self._dirty = True

    def progress(self, layer: str, text: str) -> None:
        if self._thread is None:
            self._plain.progress(layer, text)
            return
        with self._changed:
            self._board.progress[layer] = one_line(text, 200)
            self._dirty = True

    def flush(self) -> None:
        self._plain.flush()

    def flush(self) -> None:
        self._plain.flush()

    def close(self) -> None:
        self._end()
        self._plain.close()

    def _end(self) -> None:
        """Draw the last picture and leave the screen to plain lines."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._changed:
            self._over = True
            self._changed.notify_all()
        thread.join(PATIENCE)

    def _work(self) -> None:
        from rich.console import Console as Screen
        from rich.live import Live
        from rich.text import Text

        screen = Screen(file=self._out, highlight=False, markup=False, emoji=False)
        others = screen if self._err is self._out else Screen(file=self._err, highlight=False, markup=False)
        try:
            with Live(
                console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            ) as live:
                over = False
                while not over:
                    with self._changed:
                        # The clocks of the table advance as long as it stands.
                        self._changed.wait_for(lambda: self._over, FRAME)
                        over = self._over
                        lines = list(self._above)
                        self._above.clear()
                        if over:
                            self._board.progress.clear()
                        picture = self._board.picture(time.time())
                    for line in lines:
                        target = screen if line.level == "INFO" else others
                        text = line.text if line.tail or line.level == "INFO" else f"{line.level} {line.text}"
                        target.print(Text(text, style="red" if line.level == "ERROR" else ""))
                    live.update(picture, refresh=True)
        except (OSError, ValueError):
            # The terminal is gone; the mission is not.
            return
