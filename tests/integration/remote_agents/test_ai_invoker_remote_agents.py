"""The recorded exchanges, replayed against a real HTTP server."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.razar.ai_invoker import _invoke_airstar, _invoke_kimi2, _invoke_rstar
from agents.razar.errors import OverloadedError, ServerError
from agents.razar.proposals.proposal import tool
from agents.razar.proposals.tool_calls import read_proposal
from tests.agents.server import answering, http, serving

FOLDER = Path(__file__).parent
KEY = "k-integration-0123456789"

Invoke = Callable[..., Any]
AGENTS = [
    pytest.param("Kimi2", _invoke_kimi2, "kimi_k2_completion", id="kimi2"),
    pytest.param("AirStar", _invoke_airstar, "airstar_completion", id="airstar"),
    pytest.param("RStar", _invoke_rstar, "rstar_completion", id="rstar"),
]
every_agent = pytest.mark.parametrize(("name", "invoke", "recording"), AGENTS)


def load(recording: str) -> tuple[dict[str, Any], dict[str, Any]]:
    exchange = json.loads((FOLDER / f"{recording}.json").read_text(encoding="utf-8"))
    return exchange["request"], exchange["response"]


@every_agent
def test_the_payload_arrives_as_it_is_with_the_key_beside_it(
    name: str, invoke: Invoke, recording: str
) -> None:
    payload, response = load(recording)
    before = copy.deepcopy(payload)
    with serving(answering(http(response))) as server:
        agent, info, reply = invoke(name, server.url("/some/path?version=2"), payload, KEY)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/some/path?version=2")
    assert request.json == before | {"auth_token": KEY}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"localhost:{server.port}"
    assert payload == before
    assert agent.__name__ == name
    assert info == {
        "endpoint": f"http://localhost:{server.port}/some/path",
        "service": name.lower(),
        "status_code": 200,
        "token_provided": True,
    }
    assert reply == response


@every_agent
@pytest.mark.parametrize("token", [None, "", "  "])
def test_without_a_key_nothing_is_added(name: str, invoke: Invoke, recording: str, token: str | None) -> None:
    payload, response = load(recording)
    with serving(answering(http(response))) as server:
        _, info, _ = invoke(name, server.url(), payload, token)
    (request,) = server.requests
    assert request.json == payload and "auth_token" not in payload
    assert not {"authorization", "x-api-key"} & request.headers.keys()
    assert info["token_provided"] is False


@every_agent
def test_a_token_in_the_payload_is_kept(name: str, invoke: Invoke, recording: str) -> None:
    payload, response = load(recording)
    payload["auth_token"] = "fixture-token"
    with serving(answering(http(response))) as server:
        invoke(name, server.url(), payload, KEY)
    (request,) = server.requests
    assert request.json["auth_token"] == "fixture-token"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert payload["auth_token"] == "fixture-token"


@every_agent
def test_one_payload_serves_all_retries(name: str, invoke: Invoke, recording: str) -> None:
    payload, response = load(recording)
    before = copy.deepcopy(payload)
    overloaded = http({"error": {"type": "engine_overloaded_error", "message": "later"}}, 429)
    with serving(answering(http("broken", 500), overloaded, http(response))) as server:
        with pytest.raises(ServerError):
            invoke(name, server.url(), payload, KEY)
        with pytest.raises(OverloadedError):
            invoke(name, server.url(), payload, KEY)
        _, _, reply = invoke(name, server.url(), payload, KEY)
    assert [request.json for request in server.requests] == [before | {"auth_token": KEY}] * 3
    assert payload == before
    assert reply == response


@every_agent
def test_the_recorded_answer_holds_a_proposal(name: str, invoke: Invoke, recording: str) -> None:
    payload, response = load(recording)
    with serving(answering(http(response))) as server:
        reply = invoke(name, server.url(), payload, KEY)[2]
    proposal = read_proposal(reply)
    assert [edit.path for edit in proposal.edits] == ["examples/demo/crown_router.py"]
    assert proposal.summary and proposal.root_cause


def test_the_recorded_chat_requests_offer_the_tool_as_it_is_today() -> None:
    for recording in ("kimi_k2_completion", "airstar_completion"):
        assert load(recording)[0]["tools"] == [tool()]


def test_the_completion_request_has_the_six_documented_fields() -> None:
    request, _ = load("rstar_completion")
    options = {"skip_special_tokens", "include_stop_str_in_output"}
    assert request.keys() == {"model", "prompt", "temperature", "max_tokens"} | options
    assert all(type(token) is int for token in request["prompt"])


def test_what_is_no_object_travels_as_context() -> None:
    with serving(answering(http({}))) as server:
        _invoke_kimi2("Kimi2", server.url(), "Health check failed", KEY)
    assert server.requests[0].json == {"context": "Health check failed", "auth_token": KEY}


def test_an_answer_that_is_no_json_is_its_text() -> None:
    with serving(answering(http("queued", 202))) as server:
        _, info, reply = _invoke_rstar("RStar", server.url(), {}, KEY)
    assert reply == {"response": "queued"} and info["status_code"] == 202


def test_the_user_info_of_the_endpoint_is_shown_to_nobody_but_the_endpoint() -> None:
    with serving(answering(http({}))) as server:
        endpoint = f"http://user:pa55word@localhost:{server.port}/v1?api_key=secret1"
        _, info, _ = _invoke_kimi2("Kimi2", endpoint, {}, None)
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpwYTU1d29yZA=="
    assert server.requests[0].path == "/v1?api_key=secret1"
    assert info["endpoint"] == f"http://localhost:{server.port}/v1"
