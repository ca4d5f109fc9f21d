"""``boot_orchestrator.log``: what happened, line by line, for people and for grep.

``[2025-09-21T00:00:00Z] INFO Booting component crown_router``. The end of a failed component's
own log follows its error, indented and without a time, so that it cannot pass for a line of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from razar.engine.facts import Fact
from razar.engine.state import MissionState
from razar.projections.wording import Level, Line, lines_of
from razar.utils import files
from razar.utils.line_file import LineFile
from razar.utils.redaction import one_line
from razar.utils.times import utc

__all__ = ["KEEP", "ROTATE_AT", "BootLog"]

#: Bytes after which the log is rotated.
ROTATE_AT = 4 * 1024 * 1024
#: Rotated logs that are kept: boot_orchestrator.log.1 to .5.
KEEP = 5


class BootLog:
    """The projection of the facts into the log. A disk that refuses is told once, never fatal.

    The file is made by the first line, its folder must exist. ``later`` has a function called soon:
    then the lines of everything that happens until it is called go to the disk in one write.
    """

    def __init__(
        self,
        path: str,
        mission: str,
        *,
        report: Callable[[str], None] | None = None,
        rotate_at: int = ROTATE_AT,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.path = path
        self.mission = mission
        self._report = report
        self._rotate_at = self._next = rotate_at
        self._file = LineFile(path, report=report, backlog=1024 * 1024)
        self._later = later
        self._waiting: list[bytes] = []

    def fact(self, fact: Fact, state: MissionState | None = None) -> None:
        """Write the lines of a fact with the time of the fact."""
        self._write(fact.at, lines_of(fact, self.mission, state))

    def line(self, level: Level, text: str, at: float | None = None) -> None:
        """Write one line of something that is no fact. ``at`` is epoch seconds, default now."""
        self._write(time.time() if at is None else at, [Line(level, one_line(text))])

    def close(self) -> None:
        """Write what is left and release the file."""
        self._flush()
        self._file.flush()
        self._file.close()

    def _write(self, at: float, lines: list[Line]) -> None:
        if not lines:
            return
        stamp = f"[{utc(at)}] "
        text = "".join(
            f"{line.text}\n" if line.tail else f"{stamp}{line.level} {line.text}\n" for line in lines
        )
        if self._later is not None and not self._waiting:
            self._later(self._flush)
        self._waiting.append(text.encode("utf-8", "backslashreplace"))
        if self._later is None:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        self._file.append(b"".join(self._waiting))
        self._waiting.clear()
        if self._file.size > self._next:
            self._rotate()

    def _rotate(self) -> None:
        self._file.close()
        try:
            files.rotate(self.path, KEEP)
            self._next = self._rotate_at
        except OSError as fault:
            self._next = self._file.size + self._rotate_at
            if self._report is not None:
                self._report(f"{self.path} could not be rotated: {files.why(fault)}")
