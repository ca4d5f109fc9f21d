"""``log:``: a line the component has written since its launch matches a pattern."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from types import FrameType

from razar.launchers.logs import log_file
from razar.probes.base import PASSED, Answer, Check, ProbeError, ProbeTarget

__all__ = ["LogCheck"]

#: Longest beginning of a line that is searched, in bytes.
LINE_LIMIT = 8 << 10
#: Bytes that are read at once, and how often in one attempt.
CHUNK = 128 << 10
CHUNKS = 32
#: Seconds of CPU that searching one chunk may take.
SEARCH_TIME = 0.25
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class LogCheck(Check):
    """Reads on from where it was. A line may also match before its end has been written."""

    keeps_time = True
    revocable = False

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__(target)
        self._file = log_file(target.log)
        self._position = self._file.position(target.log_offset)
        try:
            self._pattern = re.compile(self.probe.target)
        except (re.error, RecursionError, OverflowError) as error:
            raise ProbeError(f"{self.probe.target!r} is not a regular expression: {error}") from None
        self._rest = b""
        self._found = False
        self._hopeless: str | None = None

    async def attempt(self) -> Answer:
        if self._hopeless is not None:
            raise ProbeError(self._hopeless)
        for _ in range(CHUNKS):
            if self._found:
                return PASSED
            data, self._position = self._file.read(self._position, CHUNK)
            if not data:
                break
            self._take(data)
            await asyncio.sleep(0)
        if not self._found:
            raise ProbeError(f"no line of the log matches {self.probe.target!r} yet")
        return PASSED

    def _take(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LINE_LIMIT]
        try:
            self._found = _search(self._pattern, [*lines, rest])
        except TimeoutError:
            self._hopeless = (
                f"the pattern {self.probe.target!r} takes too long to search: avoid nested repetitions"
            )
            raise ProbeError(self._hopeless) from None


def _search(pattern: re.Pattern[str], lines: list[bytes]) -> bool:
    """Search with a limit on CPU time; raises TimeoutError.

    The regular expression engine looks for signals while it searches, and a signal handler may
    raise. Signals are for the main thread only, where the loop runs.
    """
    if threading.current_thread() is not threading.main_thread():
        return _matches(pattern, lines)
    before = signal.signal(signal.SIGVTALRM, _interrupt)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, SEARCH_TIME)
        try:
            return _matches(pattern, lines)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _matches(pattern: re.Pattern[str], lines: list[bytes]) -> bool:
    for line in lines:
        text = line[:LINE_LIMIT].decode(errors="replace").removesuffix("\r")
        if pattern.search(text) or ("\x1b" in text and pattern.search(_COLOURS.sub("", text))):
            return True
    return False
