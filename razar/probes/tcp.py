"""``tcp://``: somebody accepts connections."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from razar.probes import net
from razar.probes.base import PASSED, Answer, Check, ProbeTarget

__all__ = ["TcpCheck", "host_and_port"]


@lru_cache(4096)
def host_and_port(target: str) -> tuple[str, int]:
    """Split ``host:port``, ``[::1]:port`` or a URL; a URL without a port has its scheme's."""
    from urllib.parse import urlsplit

    url = urlsplit(target if "://" in target else f"//{target}")
    defaults = {"https": 443, "wss": 443}
    return url.hostname or "", url.port or defaults.get(url.scheme, 80)


class TcpCheck(Check):
    """A connection is opened and closed."""

    keeps_time = True

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__(target)
        self._host, self._port = host_and_port(self.probe.target)

    async def attempt(self) -> Answer:
        deadline = asyncio.get_running_loop().time() + self.probe.timeout
        (await net.connect(self._host, self._port, deadline)).close()
        return PASSED
