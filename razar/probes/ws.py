"""``ws://`` and ``wss://``: a websocket handshake succeeds."""

from __future__ import annotations

import asyncio

from razar.probes import net
from razar.probes.base import PASSED, Answer, Check, ProbeError, ProbeTarget
from razar.probes.tcp import host_and_port

__all__ = ["WsCheck"]

#: Seconds a peer gets to answer our closing handshake.
COURTESY = 0.1


class WsCheck(Check):
    """The connection is closed again after the handshake."""

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__(target)
        self._host, self._port = host_and_port(self.probe.target)

    async def attempt(self) -> Answer:
        deadline = asyncio.get_running_loop().time() + self.probe.timeout
        sock = await net.connect(self._host, self._port, deadline)
        try:
            # Not before somebody listens: the import takes longer than most handshakes.
            from websockets.asyncio.client import connect
            from websockets.exceptions import InvalidStatus, WebSocketException

            try:
                connection = await connect(
                    self.probe.target,
                    sock=sock,
                    proxy=None,
                    open_timeout=None,
                    ping_interval=None,
                    max_size=1 << 16,
                )
            except InvalidStatus as error:
                status = error.response.status_code
                raise ProbeError(f"HTTP {status} instead of a websocket handshake") from None
            except (WebSocketException, EOFError, OSError, ValueError) as error:
                raise ProbeError(f"the websocket handshake failed: {_reason(error)}") from None
            try:
                async with asyncio.timeout(COURTESY):
                    await connection.close()
            except TimeoutError:
                pass  # The handshake was what had to be proven.
            finally:
                connection.transport.abort()
        finally:
            sock.close()
        return PASSED


def _reason(error: BaseException) -> str:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return str(error.__cause__ or error)
