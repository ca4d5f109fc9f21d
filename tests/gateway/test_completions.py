"""The gateway as the openai package sees it: answers, tool calls, failures, Kimi K2 last."""

from __future__ import annotations

import json
import math
import random
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.gateway.openai_client import TOOLS, TRACE, USER, client, crowned
from tests.gateway.support import (
    MARKED,
    TOOL_CALL,
    Handler,
    completion,
    fails,
    gateway,
    hangs,
    replies,
    says,
    sends,
    servant,
)
from tests.support.ports import free_port
from tests.support.waiting import until_sync


def test_a_plain_answer(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, second]):
        answer = client(at).chat.completions.create(
            model="crown", messages=USER, temperature=0.5, extra_headers={"traceparent": TRACE}
        )
        assert answer.choices[0].message.content == "hello"
        assert answer.usage is not None and answer.usage.total_tokens == 3
        [(path, headers, body)] = first.requests
        assert path == "/v1/chat/completions" and second.requests == []
        assert headers["traceparent"] == TRACE and "authorization" not in headers
        assert body == {"messages": USER, "temperature": 0.5, "model": "model-a"}
        crown = answer.to_dict()["crown"]
        assert isinstance(crown, dict)
        assert (crown["servant"], crown["source"], crown["rule"]) == ("a", "servant", "a first")
        assert [entry["outcome"] for entry in crown["trail"]] == ["answered"]


def test_the_models(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, second]):
        listed = list(client(at).models.list())
        assert [model.id for model in listed] == ["crown", "a", "b"]
        assert [client(at).models.retrieve(model.id) for model in listed] == listed
        with pytest.raises(openai.NotFoundError, match="no model of this name"):
            client(at).models.retrieve("org/none-such")
        for name in ("b", "model-b"):
            client(at).chat.completions.create(model=name, messages=USER)
        assert (len(first.requests), len(second.requests)) == (0, 2)
        with pytest.raises(openai.NotFoundError, match="no model"):
            client(at).chat.completions.create(model="gpt-9", messages=USER)


@pytest.mark.parametrize("message", [{"content": None, "tool_calls": [TOOL_CALL]}, {"content": MARKED}])
def test_tool_calls_however_they_are_written(message: dict[str, Any], tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, _]):
        first.behaviour = replies(200, completion(message))
        answer = client(at).chat.completions.create(model="crown", messages=USER, tools=TOOLS)
        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == ("fix", '{"a": 1}')
        assert answer.choices[0].finish_reason == "tool_calls"
        assert first.requests[0][2]["tools"] == TOOLS


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (fails(500), "upstream"),
        (fails(429, "rate_limit_reached_error"), "rate_limit"),
        (fails(429, "exceeded_current_quota_error"), "quota"),
        (fails(401, "invalid_authentication_error"), "authentication"),
        (fails(404), "configuration"),
        (replies(302, b"", {"location": "http://127.0.0.1:1/"}), "configuration"),
        (replies(200, b"<html>"), "malformed"),
        (replies(200, {"choices": []}), "malformed"),
        (replies(200, {"error": {"message": "loading"}}), "malformed"),
        (hangs, "timeout"),
        (sends(b"\x1f\x8b\x08data: {}\n\n", headers={"content-encoding": "gzip"}), "malformed"),
        (replies(200, completion({"content": "packed"}), {"content-encoding": "br"}), "malformed"),
    ],
)
def test_another_servant_takes_over(behaviour: Any, outcome: str, stream: bool, tmp_path: Path) -> None:
    with crowned(tmp_path, hanging="a" if behaviour is hangs else "") as (at, [first, second]):
        first.behaviour = behaviour
        second.behaviour = says("from b")
        if stream:
            response = client(at).chat.completions.with_raw_response.create(
                model="crown", messages=USER, stream=True
            )
            assert response.headers["x-crown-servant"] == "b"
            parts = [chunk.choices[0].delta.content or "" for chunk in response.parse()]
            assert "".join(parts).strip() == "from b"
            return
        answer = client(at).chat.completions.create(model="crown", messages=USER)
        assert answer.choices[0].message.content == "from b"
        crown: Any = answer.to_dict()["crown"]
        assert [entry["outcome"] for entry in crown["trail"]] == [outcome, "answered"]


def test_floats_of_an_answer_come_to_the_last_digit(tmp_path: Path) -> None:
    """An answer in order is passed on as it came; with tools offered it is taken apart for Kimi's markers."""
    numbers = random.Random(7)
    floats = [-numbers.random() for _ in range(500)]
    while len(floats) < 1000:
        (drawn,) = struct.unpack("d", numbers.randbytes(8))
        floats += [drawn] if math.isfinite(drawn) else []
    answer = completion({"content": "hi"})
    answer["choices"][0]["logprobs"] = {"content": [{"logprob": value} for value in floats]}
    with servant(replies(200, answer)) as one:
        config = {"servants": [{"name": "a", "url": one.url}], "kimicho": False}
        with gateway(tmp_path, config) as at:
            for more in ({}, {"tools": [{"type": "function", "function": {"name": "f"}}]}):
                body = {"messages": [{"role": "user", "content": "hi"}]} | more
                told = httpx.post(f"{at.url}/v1/chat/completions", json=body, timeout=20).json()
                assert [each["logprob"] for each in told["choices"][0]["logprobs"]["content"]] == floats


def test_a_refusal_is_passed_on_and_nobody_else_is_asked(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour = fails(400, "invalid_request_error", "context too long")
        with pytest.raises(openai.BadRequestError, match="context too long"):
            client(at).chat.completions.create(model="crown", messages=USER)
        assert second.requests == []


def test_all_down_is_one_clear_error_with_the_trail(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour = fails(500)
        second.behaviour = fails(503)
        with pytest.raises(openai.InternalServerError) as failed:
            client(at).chat.completions.create(model="crown", messages=USER)
        assert failed.value.status_code == 502
        error: Any = failed.value.body
        assert error["code"] == "no_servant_answered" and "none of 2 answered" in error["message"]
        assert [(e["servant"], e["status"]) for e in error["trail"]] == [("a", 500), ("b", 503)]


def test_who_asks_too_often_is_told_how_long_to_wait(tmp_path: Path) -> None:
    """It is the shortest time that one of the servants named, not one of our own."""
    with crowned(tmp_path) as (at, [first, second]):
        limited = {"error": {"type": "rate_limit_reached_error", "message": "slow down"}}
        first.behaviour = replies(429, limited, {"Retry-After": "40"})
        second.behaviour = replies(429, limited, {"Retry-After": "7"})
        with pytest.raises(openai.RateLimitError) as failed:
            client(at).chat.completions.create(model="crown", messages=USER)
        assert failed.value.response.headers["retry-after"] == "7"
        second.behaviour = replies(429, limited)
        first.behaviour = replies(429, limited)
        with pytest.raises(openai.RateLimitError) as failed:
            client(at).chat.completions.create(model="crown", messages=USER)
        assert failed.value.response.headers["retry-after"] == "1"


def test_kimicho_is_not_asked_again_for_a_client_that_has_left(tmp_path: Path) -> None:
    asked, left, answered = threading.Event(), threading.Event(), threading.Event()

    def first_too_late(handler: Handler, body: dict[str, Any]) -> None:
        if body["messages"] == USER:
            asked.set()
            left.wait(30)
            handler.answer(503, {"error": {"message": "busy"}}, {"Retry-After": "0"})
            answered.set()
        else:
            says("here")(handler, body)

    with servant(first_too_late) as k2:
        with gateway(tmp_path, {"servants": [], "kimicho": {"endpoint": k2.url, "timeout": 30}}) as at:
            url = f"{at.url}/v1/chat/completions"
            body = json.dumps({"messages": USER}).encode()
            with socket.create_connection(("127.0.0.1", int(at.url.rsplit(":", 1)[1]))) as client:
                client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
                client.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                assert asked.wait(10)
            # The one connection that is left asks for the metrics.
            until_sync(lambda: "\ncrown_connections 1\n" in httpx.get(f"{at.url}/metrics").text)
            left.set()
            assert answered.wait(10)
            again = httpx.post(url, json={"messages": [{"role": "user", "content": "another"}]})
            assert again.status_code == 200
        assert [request[2]["messages"] == USER for request in k2.requests] == [True, False]


@pytest.mark.parametrize("stream", [False, True])
def test_kimicho_answers_last(stream: bool, tmp_path: Path) -> None:
    with servant(replies(200, completion({"content": MARKED}))) as k2:
        kimicho = {"endpoint": k2.url, "model": "kimi-k2", "timeout": 20}
        with crowned(tmp_path, kimicho=kimicho) as (at, [first, second]):
            first.behaviour = second.behaviour = fails(500)
            create = client(at).chat.completions.create
            if stream:
                chunks = [
                    chunk.choices[0]
                    for chunk in create(model="crown", messages=USER, tools=TOOLS, stream=True)
                ]
                calls = [call for chunk in chunks for call in chunk.delta.tool_calls or []]
                assert [(call.index, call.function.name) for call in calls if call.function] == [(0, "fix")]
                assert chunks[-1].finish_reason == "tool_calls"
            else:
                answer = create(model="crown", messages=USER, tools=TOOLS)
                crown: Any = answer.to_dict()["crown"]
                assert (crown["source"], len(crown["trail"])) == ("kimicho", 3)
                assert answer.choices[0].finish_reason == "tool_calls"
            assert k2.requests[0][2]["model"] == "kimi-k2"


def test_kimicho_down_as_well(tmp_path: Path) -> None:
    kimicho = {"endpoint": f"http://key-of-k2:s3cret@127.0.0.1:{free_port()}", "timeout": 1}
    with crowned(tmp_path, hanging="ab", kimicho=kimicho) as (at, [first, second]):
        first.behaviour = second.behaviour = hangs
        with pytest.raises(openai.InternalServerError) as failed:
            client(at).chat.completions.create(model="crown", messages=USER)
        error: Any = failed.value.body
        assert [entry["servant"] for entry in error["trail"]] == ["a", "b", "kimicho"]
        assert "nothing listens there" in error["message"] and "s3cret" not in str(error)
