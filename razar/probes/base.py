"""What every probe has in common: its target, its answer, its failure."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from razar.config.model import Probe
from razar.probes.notify_socket import NotifySocket

__all__ = ["PASSED", "Answer", "Check", "FileStamp", "ProbeError", "ProbeTarget"]

#: Inode, size, and nanoseconds of the last write and the last change of a file.
FileStamp = tuple[int, int, int, int]


class ProbeError(Exception):
    """The component is not healthy; the message says what was found and what was expected.

    ``unheard`` is the port of this machine that nobody listened on, if that is what was wrong.
    """

    def __init__(self, message: str, *, unheard: int | None = None) -> None:
        super().__init__(message)
        self.unheard = unheard


class ProbeTarget(Struct, frozen=True, kw_only=True):
    """One incarnation to probe.

    ``env`` is its complete environment, ``log`` the absolute path of its current.log, of which the
    first ``log_offset`` bytes are older than the launch. ``launched_ns`` is the instant before the
    launch by the clock that stamps files, in nanoseconds since the epoch, ``launched_at`` the one after
    it by the loop's clock; ``before`` the stamp of a file probe's file before the launch, if one was taken.
    """

    component: str
    incarnation: int
    probe: Probe
    cwd: str
    env: dict[str, str]
    log: str
    log_offset: int = 0
    launched_ns: int = 0
    launched_at: float | None = None
    notify: NotifySocket | None = None
    before: FileStamp | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What ``expect`` is evaluated over; ``truncated`` if the body was longer than what is kept."""

    status: int | None = None
    headers: dict[str, str] = {}
    body: bytes = b""
    truncated: bool = False


#: The answer of a probe that has nothing to show but its success.
PASSED = Answer()


class Check:
    """One kind of probe, made for one incarnation."""

    #: Whether :meth:`attempt` keeps to the probe's time limit by itself.
    keeps_time = False
    #: The least pause between two attempts, as a multiple of the time the last one took.
    rest = 0.0
    #: Whether it can fail again once it has passed; a line that was logged stays logged.
    revocable = True

    def __init__(self, target: ProbeTarget) -> None:
        self.target = target
        self.probe = target.probe

    async def attempt(self) -> Answer:
        """Probe once; raises ProbeError, or TimeoutError after ``probe.timeout`` seconds."""
        return PASSED

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts, but no longer than until something has happened."""
        await asyncio.sleep(seconds)

    def judge(self, answer: Answer) -> None:
        """Decide about an answer unless ``expect`` looks at its status; raises ProbeError."""
