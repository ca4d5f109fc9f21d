"""The demo's router, as the demo has it, boots and routes."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx2 as httpx
import pytest

from razar.config.environments import load_environments
from tests.boot.mission import REPOSITORY, Mission
from tests.gateway.support import says, servant
from tests.support.ports import free_port

Make = Callable[..., Mission]


def test_the_router_of_the_demo_is_the_gateway(mission: Make) -> None:
    pytest.importorskip("razar._native", reason="the extension is not built")
    components = json.loads((REPOSITORY / "boot_config.json").read_text())["components"]
    [router] = [component for component in components if component["id"] == "crown_router"]
    port = free_port()
    with servant(says("from the servant")) as model:
        one = mission({**router, "depends_on": []})
        one.start(DEMO_CROWN_PORT=str(port), DEMO_COMPLEX_PORT=str(model.port))
        one.wait_for_line("INFO Mission demo complete")
        body = {"messages": [{"role": "user", "content": "Are you there?"}]}
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == "from the servant"
        assert one.stop() == 0
    assert model.requests[0][2]["model"] == "complex"


def test_a_layer_of_the_demo_has_three_dependencies_and_the_router_none() -> None:
    specs = {spec.layer: spec for spec in load_environments(str(REPOSITORY / "razar_env.yaml"))}
    assert len(specs["complex"].dependencies) == 3 and "crown" not in specs
