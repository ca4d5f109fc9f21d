"""Streams through the gateway: when they begin, when they have ended, and when another servant is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

from tests.gateway.openai_client import USER, client, crowned, looked_at
from tests.gateway.support import (
    completion,
    event,
    fails,
    gateway,
    replies,
    says,
    sends,
    servant,
    streams,
)
from tests.support.waiting import until_sync

ERROR = b'data: {"error": {"message": "no room for sk-of-a"}}\n\n'
DONE = b"data: [DONE]\n\n"


def test_a_stream(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, _]):
        first.behaviour = streams("one ", "two ", "three")
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        with stream:
            chunks = [chunk.choices[0] for chunk in stream]
        assert "".join(chunk.delta.content or "" for chunk in chunks) == "one two three"
        assert chunks[-1].finish_reason == "stop"
        assert first.requests[0][2]["stream"] is True


def test_the_first_event_of_a_stream_tells_who_was_tried(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour, second.behaviour = fails(500), streams("one ", "two")
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        chunks = list(stream)
        told, *others = [(chunk.model_extra or {}).get("crown") for chunk in chunks]
        assert stream.response.headers["x-crown-servant"] == told["servant"] == "b"
        assert (told["model"], told["source"], set(others)) == ("model-b", "servant", {None})
        assert [(tried["servant"], tried["outcome"]) for tried in told["trail"]] == [
            ("a", "upstream"),
            ("b", "answered"),
        ]
        second.behaviour = says("whole")
        whole = client(at).chat.completions.create(model="crown", messages=USER)
        assert told.keys() == (whole.model_extra or {})["crown"].keys()


def test_a_stream_that_is_cut_ends_with_an_error(tmp_path: Path) -> None:
    with crowned(tmp_path, hanging="a") as (at, [first, _]):
        for behaviour, words in [
            (streams("one ", cut=True), "cut"),
            (streams("one ", hang=True), "too long"),
        ]:
            first.behaviour = behaviour
            seen = []
            with (
                pytest.raises(openai.APIError, match=words),
                client(at).chat.completions.create(model="crown", messages=USER, stream=True) as stream,
            ):
                for chunk in stream:
                    seen.append(chunk.choices[0].delta.content)
            assert seen == ["one "]


def test_a_stream_that_never_begins_goes_to_another(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour = streams(cut=True)
        second.behaviour = says("whole")
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).strip() == "whole"


@pytest.mark.parametrize(
    "pieces",
    [
        (b": PROCESSING\n\n", ERROR),
        (b"event: error\n", ERROR),
        (b"retry: 1000\n\n", ERROR),
        (b": PROCESSING\n\n",),
        (b": PROCESSING\n\n", ERROR.rstrip()),
        (b"data: Internal Server Error\n\n", DONE),
        (b"<html>",),
        (event({"content": "one"}) + ERROR, DONE),
        (DONE,),
        (b": " + b"x" * 1000 + b"\n",) * 100,
    ],
)
def test_what_comes_before_an_answer_commits_to_nobody(pieces: tuple[bytes, ...], tmp_path: Path) -> None:
    """Comments and fields that come before an error do not make a stream that cannot change servants."""
    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour = sends(*pieces)
        second.behaviour = says("whole")
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).strip() == "whole"
        attempts = httpx.get(f"{at.url}/metrics").text
        assert 'crown_attempts_total{servant="a",outcome="answered"}' not in attempts


def test_the_type_of_a_stream_may_be_written_in_capitals(tmp_path: Path) -> None:
    headers = {"content-type": "Text/Event-Stream; charset=utf-8", "content-encoding": "identity"}
    with crowned(tmp_path, count=1) as (at, [first]):
        first.behaviour = sends(event({"content": "one"}), DONE, headers=headers)
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        assert [chunk.choices[0].delta.content for chunk in stream] == ["one"]


def test_what_comes_before_an_answer_is_passed_on(tmp_path: Path) -> None:
    pieces = (b": PROCESSING\n\n", b"id: 1\n", event({"content": "one"}), DONE)
    with crowned(tmp_path, count=1) as (at, [first]):
        first.behaviour = sends(*pieces)
        answer = httpx.post(f"{at.url}/v1/chat/completions", json={"messages": USER, "stream": True})
        assert re.sub(rb'"crown":\{.*\},(?="id")', b"", answer.content) == b"".join(pieces)


def test_an_error_within_a_stream_is_a_failure_and_shows_no_key(tmp_path: Path) -> None:
    with servant(sends(event({"content": "one"}), b"event: error\n", ERROR, DONE)) as one:
        servants = [{"name": "a", "url": one.url, "api_key_env": "KEY_OF_A"}]
        with gateway(tmp_path, {"servants": servants, "kimicho": False}, KEY_OF_A="sk-of-a") as at:
            for _ in range(3):
                with (
                    pytest.raises(openai.APIError, match=r"ended with an error: no room for \*\*\*"),
                    client(at).chat.completions.create(model="crown", messages=USER, stream=True) as stream,
                ):
                    assert [chunk.choices[0].delta.content for chunk in stream] == ["one"]
            answer = httpx.post(f"{at.url}/v1/chat/completions", json={"messages": USER, "stream": True})
            assert "sk-of-a" not in answer.text and "[DONE]" not in answer.text
            assert httpx.get(f"{at.url}/readyz").json()["servants"] == {"a": False}


@pytest.mark.parametrize(
    ("end", "hang"),
    [
        (DONE, True),
        (DONE.rstrip(), False),
        (DONE.replace(b"\n", b"\r\n"), True),
        (DONE + b": bye\n\n", False),
    ],
)
def test_a_stream_ends_with_its_end_mark(end: bytes, hang: bool, tmp_path: Path) -> None:
    """It is whole without a last line end, and if the servant keeps the connection open."""
    with servant(sends(event({"content": "one"}), end, hang=hang)) as one:
        config = {"servants": [{"name": "a", "url": one.url, "timeout": 60}], "kimicho": False}
        with gateway(tmp_path, config) as at:
            answer = httpx.post(
                f"{at.url}/v1/chat/completions", json={"messages": USER, "stream": True}, timeout=20
            )
            assert answer.text.count("[DONE]") == 1 and "error" not in answer.text
            assert 'crown_servant_latency_seconds{servant="a"}' in httpx.get(f"{at.url}/metrics").text


def test_a_client_may_leave_at_the_end_mark(tmp_path: Path) -> None:
    """A servant that was left alone is well again once it has answered a whole stream."""
    with servant(fails(500)) as one:
        config = {"servants": [{"name": "a", "url": one.url, "timeout": 60}], "kimicho": False}
        with gateway(tmp_path, config) as at:
            looked_at(at)
            for _ in range(3):
                httpx.post(f"{at.url}/v1/chat/completions", json={"messages": USER})
            assert httpx.get(f"{at.url}/readyz").json()["servants"] == {"a": False}
            one.behaviour = sends(event({"content": "one"}), DONE, hang=True)
            body = {"messages": USER, "stream": True}
            with httpx.stream("POST", f"{at.url}/v1/chat/completions", json=body, timeout=20) as answer:
                assert "data: [DONE]" in answer.iter_lines()
            until_sync(lambda: httpx.get(f"{at.url}/readyz").json()["servants"] == {"a": True})


def test_a_whole_answer_that_cannot_become_events_goes_to_another(tmp_path: Path) -> None:
    beyond = json.dumps(completion({"content": "one"})).replace('"created": 1', '"created": 1e400')
    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour = replies(200, beyond.encode())
        second.behaviour = says("whole")
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).strip() == "whole"
        assert len(first.requests) == 1
