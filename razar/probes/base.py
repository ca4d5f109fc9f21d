"""What every probe has in common: its target, its answer, its failure."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from razar.config.model import Probe
from razar.notify import NotifySocket
from razar.probes.file_stamp import FileStamp

__all__ = ["Answer", "Check", "ProbeError", "ProbeTarget"]


class ProbeError(Exception):
    """The component is not healthy; the message says what was found and what was expected."""


class ProbeTarget(Struct, frozen=True, kw_only=True):
    """One incarnation to probe.

    ``env`` is its complete environment, ``log`` the absolute path of its current.log, of which the
    first ``log_offset`` bytes are older than the launch. ``launched_ns`` is the instant of the
    launch by the clock that stamps files, in nanoseconds since the epoch; ``before`` what a file
    probe's file was before the launch, if that was looked at.
    """

    component: str
    incarnation: int
    probe: Probe
    cwd: str
    env: dict[str, str]
    log: str
    log_offset: int = 0
    launched_ns: int = 0
    notify: NotifySocket | None = None
    before: FileStamp | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What ``expect`` is evaluated over. ``truncated`` says that the body was longer than is kept."""

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
    #: The least pause between two attempts, as a multiple of how long the last one took.
    rest = 0.0
    #: Whether liveness means anything: a line that was once logged stays logged.
    lasting = False

    def __init__(self, target: ProbeTarget) -> None:
        self.target = target
        self.probe = target.probe

    async def attempt(self) -> Answer:
        """Probe once; raises ProbeError."""
        raise ProbeError("this component has nothing to probe")

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts, or less if something has happened."""
        await asyncio.sleep(seconds)

    def judge(self, answer: Answer) -> None:
        """Decide about an answer where no ``expect`` does; raises ProbeError."""

    def variables(self, answer: Answer) -> dict[str, Any]:
        """Name what an ``expect`` can use."""
        return {
            "status": answer.status,
            "headers": answer.headers,
            "body": answer.body.decode(errors="replace"),
        }
