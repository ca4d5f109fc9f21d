"""``notify``: the component says READY=1 by itself (sd_notify(3))."""

from __future__ import annotations

from razar.launchers.processes import NONCE
from razar.probes.base import PASSED, Answer, Check, ProbeError, ProbeTarget
from razar.probes.notify_socket import NotifySocket

__all__ = ["NotifyCheck"]

#: Seconds without a message after which the missing one is reported.
PATIENCE = 1.0


class NotifyCheck(Check):
    """No polling: the message ends the pause.

    A second without one is worth a complaint.
    """

    keeps_time = True
    revocable = False

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__(target)
        if target.notify is None:
            raise ProbeError("no notification socket was opened for this launch")
        self._socket: NotifySocket = target.notify
        self._socket.listen(target.env.get(NONCE, ""))

    async def attempt(self) -> Answer:
        if self._socket.ready:
            return PASSED
        raise ProbeError(self._socket.complaint())

    async def pause(self, seconds: float) -> None:
        if self._socket.ready:
            await super().pause(seconds)
        else:
            await self._socket.wait(max(seconds, PATIENCE))
