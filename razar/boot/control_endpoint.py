"""The control socket of a running mission, kept where people look for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from razar.boot.logs_guard import LogsGuard
from razar.boot.mission_lock import MissionLock
from razar.control.server import ControlServer
from razar.projections.wording import Level

__all__ = ["ControlEndpoint"]


class ControlEndpoint:
    """Opens the socket, and opens it anew when it or the logs folder was taken away.

    ``moved`` is called when another folder is in the place of the logs: what is known of the mission
    has to be written there.
    """

    def __init__(
        self,
        server: ControlServer,
        logs: str,
        lock: MissionLock,
        *,
        moved: Callable[[], object],
        say: Callable[[Level, str], None],
    ) -> None:
        self._server = server
        self._moved = moved
        self._say = say
        self._guard = LogsGuard(logs, lock, renew=self._renew, say=say)
        #: One that is still being opened when the boot ends must not stay open.
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Listen, and watch over the logs folder. What is wrong is told."""
        async with self._opening:
            await self._renew(False)
            self._guard.start()

    async def close(self) -> None:
        """End both."""
        async with self._opening:
            await self._guard.close()
            await self._server.close()

    async def _renew(self, moved: bool) -> None:
        try:
            await self._server.start()
        except OSError as error:
            self._say("WARN", f"no control socket, so `razar stop` will not work: {error}")
        if moved:
            self._moved()
