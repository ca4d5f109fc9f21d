"""gRPC health probes; grpcio is an optional extra."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from razar.config.model import Probe
from tests.probes.checking import attempt, refusal

HAS_GRPC = importlib.util.find_spec("grpc") is not None


@pytest.mark.skipif(HAS_GRPC, reason="grpcio is installed")
async def test_without_the_extra_it_says_how_to_get_it() -> None:
    error = await refusal(Probe(kind="grpc", target="127.0.0.1:1"))
    assert error == "grpc probes need the extra `grpc`: pip install 'razar[grpc]'"


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    grpc = pytest.importorskip("grpc")

    answers = {b"": b"\x08\x01", b"\x0a\x02db": b"\x08\x02", b"\x0a\x03new": b""}

    class Health(grpc.GenericRpcHandler):  # type: ignore[misc, name-defined]
        def service(self, details: Any) -> Any:
            if details.method != "/grpc.health.v1.Health/Check":
                return None

            async def check(request: bytes, context: Any) -> bytes:
                if request not in answers:
                    await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
                return answers[request]

            return grpc.unary_unary_rpc_method_handler(check)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Health(),))
    server.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield server
    await server.stop(None)


async def test_health_service(server: Any, tmp_path: Path) -> None:
    address = f"127.0.0.1:{server.port}"
    assert await attempt(Probe(kind="grpc", target=address, timeout=5.0)) is None
    error = await refusal(Probe(kind="grpc", target=f"{address}/db", timeout=5.0))
    assert error == "the health service says NOT_SERVING, expected SERVING"
    assert "says UNKNOWN" in await refusal(Probe(kind="grpc", target=f"{address}/new", timeout=5.0))
    assert (
        await refusal(Probe(kind="grpc", target=f"{address}/x", timeout=5.0))
        == "grpc NOT_FOUND: unknown service"
    )


async def test_nobody_listens_for_grpc(server: Any) -> None:
    assert await refusal(Probe(kind="grpc", target="127.0.0.1:1")) == "connection to 127.0.0.1:1 refused"
