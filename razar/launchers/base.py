"""The seam between the mission and the place where its components run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from razar.config.model import Limits
from razar.engine.events import Event

__all__ = ["LaunchError", "LaunchSpec", "Launched", "Launcher", "Report"]

#: How adapters tell the runtime what happened; called on the event loop's thread only.
Report = Callable[[Event], None]


class LaunchError(Exception):
    """A component could not be started; the message is for people and holds no secret."""


class LaunchSpec(Struct, frozen=True, kw_only=True):
    """Everything needed to start one incarnation.

    ``env`` is the complete environment, ``log`` the absolute path of current.log, ``nonce`` a
    token also found in ``env`` as RAZAR_NONCE by which descendants are recognised.
    """

    component: str
    incarnation: int
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    log: str
    nonce: str
    limits: Limits = Limits()


class Launched(Struct, frozen=True, kw_only=True):
    """Proof of identity of a started process.

    ``start_time`` is in clock ticks since the machine's boot; ``log_offset`` is the size of the log
    before the start; ``launched_ns`` the instant before the start by the clock that stamps files,
    in nanoseconds since the epoch.
    """

    pid: int
    start_time: int
    log_offset: int
    launched_ns: int = 0


class Launcher(Protocol):
    """Ignite, observe, stop, read logs. Deaths are reported as ``Exited`` events."""

    def ignite(self, spec: LaunchSpec) -> Launched:
        """Start a process; raise LaunchError if there is none."""

    def signal(self, component: str, incarnation: int, signal: str) -> None:
        """Send a signal to the whole process group and every descendant."""

    def kill(self, component: str, incarnation: int) -> None:
        """KILL the group and every descendant."""

    def holders(self, component: str) -> list[str]:
        """Name the processes that are still there, as ``pid 4711 (command)``."""

    def tail(self, component: str, lines: int = 20) -> tuple[str, ...]:
        """Read the last lines the current incarnation has written."""

    async def close(self) -> None:
        """Release everything the launcher itself holds; components have been stopped before."""
