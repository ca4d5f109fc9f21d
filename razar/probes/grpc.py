"""``grpc://``: the standard health service says SERVING (grpc.health.v1)."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from razar.probes import net
from razar.probes.base import PASSED, Answer, Check, ProbeError, ProbeTarget
from razar.probes.tcp import host_and_port

__all__ = ["GrpcCheck"]

_METHOD = "/grpc.health.v1.Health/Check"
_STATUS = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


class GrpcCheck(Check):
    """``host:port`` asks for the server as a whole, ``host:port/service`` for one service."""

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__(target)
        address, _, service = self.probe.target.removeprefix("grpc://").partition("/")
        self._address = address
        self._host, self._port = host_and_port(address)
        name = service.encode()
        # HealthCheckRequest: field 1, a string; at most 127 bytes long, so that its length is one byte.
        self._request = b"\x0a" + bytes([len(name)]) + name if 0 < len(name) < 128 else b""

    async def attempt(self) -> Answer:
        try:
            grpc: Any = import_module("grpc")
        except ImportError:
            raise ProbeError("grpc probes need the extra `grpc`: pip install 'razar[grpc]'") from None
        # A refused connection is cheaper to find out without a channel.
        deadline = asyncio.get_running_loop().time() + self.probe.timeout
        (await net.connect(self._host, self._port, deadline)).close()
        options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            check = channel.unary_unary(_METHOD)
            try:
                answer = await check(self._request, timeout=self.probe.timeout)
            except grpc.aio.AioRpcError as error:
                raise ProbeError(f"grpc {error.code().name}: {error.details()}") from None
        status = _status(answer)
        if status != "SERVING":
            raise ProbeError(f"the health service says {status}, expected SERVING")
        return PASSED


def _status(answer: bytes) -> str:
    """Read field 1 of a HealthCheckResponse, an enumeration that is left out when it is 0."""
    if len(answer) >= 2 and answer[0] == 0x08 and answer[1] < len(_STATUS):
        return _STATUS[answer[1]]
    return _STATUS[0]
