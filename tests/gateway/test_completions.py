"""The gateway as the openai package sees it: answers, streams, tool calls, failures."""

from __future__ import annotations

import json
import math
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from neoabzu_crown import Gateway as Served
from neoabzu_crown import Router
from tests.gateway.support import (
    MARKED,
    TOOL_CALL,
    Gateway,
    Handler,
    Servant,
    closed_port,
    closes_kept_connections,
    completion,
    environment,
    event,
    fails,
    gateway,
    hangs,
    replies,
    says,
    sends,
    servant,
    streams,
)
from tests.support.waiting import until_sync

USER: list[Any] = [{"role": "user", "content": "hello there"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "fix", "parameters": {"type": "object"}}}]
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def client(at: Gateway, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{at.url}/v1", api_key="any", max_retries=0, timeout=20, **options)


@contextmanager
def crowned(folder: Path, count: int = 2, **config: Any) -> Iterator[tuple[Gateway, list[Servant]]]:
    """Run servants named a, b, … and a gateway before them; a is preferred by a rule."""
    with ExitStack() as stack:
        servants = [stack.enter_context(servant()) for _ in range(count)]
        entries = [
            {"name": chr(97 + at), "url": each.url, "model": f"model-{chr(97 + at)}", "timeout": 1.0}
            for at, each in enumerate(servants)
        ]
        rules = [{"name": "a first", "use": ["a"]}]
        kimicho = config.pop("kimicho", False)
        whole = {"servants": entries, "rules": rules, "kimicho": kimicho} | config
        yield stack.enter_context(gateway(folder, whole)), servants


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
        assert [model.id for model in client(at).models.list()] == ["crown", "a", "b"]
        for name in ("b", "model-b"):
            client(at).chat.completions.create(model=name, messages=USER)
        assert (len(first.requests), len(second.requests)) == (0, 2)
        with pytest.raises(openai.NotFoundError, match="no model"):
            client(at).chat.completions.create(model="gpt-9", messages=USER)


def test_a_stream(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, _]):
        first.behaviour = streams("one ", "two ", "three")
        stream = client(at).chat.completions.create(model="crown", messages=USER, stream=True)
        with stream:
            chunks = [chunk.choices[0] for chunk in stream]
        assert "".join(chunk.delta.content or "" for chunk in chunks) == "one two three"
        assert chunks[-1].finish_reason == "stop"
        assert first.requests[0][2]["stream"] is True


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
    with crowned(tmp_path) as (at, [first, second]):
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


def test_a_stream_that_is_cut_ends_with_an_error(tmp_path: Path) -> None:
    with crowned(tmp_path) as (at, [first, _]):
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


ERROR = b'data: {"error": {"message": "no room for sk-of-a"}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (b": PROCESSING\n\n", ERROR),
        (b"event: error\n", ERROR),
        (b"retry: 1000\n\n", ERROR),
        (b": PROCESSING\n\n",),
        (b": PROCESSING\n\n", ERROR.rstrip()),
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
        assert answer.content == b"".join(pieces)


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


def test_servants_that_are_gone_come_back(tmp_path: Path) -> None:
    """Failing three times it is left alone; once it works it is asked again."""
    with crowned(tmp_path) as (at, [first, _]):
        first.behaviour = fails(500)
        for _ in range(4):
            client(at).chat.completions.create(model="crown", messages=USER)
        assert len(first.requests) == 3
        assert httpx.get(f"{at.url}/readyz").json()["servants"] == {"a": False, "b": True}
        first.behaviour = says("back")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            answer = client(at).chat.completions.create(model="crown", messages=USER)
            if answer.choices[0].message.content == "back":
                break
        assert answer.choices[0].message.content == "back"
        assert httpx.get(f"{at.url}/readyz").json()["servants"] == {"a": True, "b": True}


def test_connections_to_servants_are_kept(tmp_path: Path) -> None:
    with crowned(tmp_path, count=1) as (at, [first]), httpx.Client() as one:
        for _ in range(5):
            for stream in (False, True):
                # Read to the end: who leaves before loses the connection, and the next may be another thread's.
                answer = one.post(f"{at.url}/v1/chat/completions", json={"messages": USER, "stream": stream})
                assert (answer.status_code, "[DONE]" in answer.text) == (200, stream)
        assert (len(first.requests), len(first.clients)) == (10, 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_connection_that_the_servant_has_closed_is_no_failure(stream: bool, tmp_path: Path) -> None:
    """It closes it just as the next request comes: that one is asked again, over a new connection."""
    with crowned(tmp_path) as (at, [first, second]), httpx.Client() as one:
        first.behaviour = closes_kept_connections
        for _ in range(6):
            answer = one.post(f"{at.url}/v1/chat/completions", json={"messages": USER, "stream": stream})
            assert (answer.status_code, answer.headers["x-crown-servant"]) == (200, "a")
        assert len(first.requests) > len(first.clients) >= 2 and second.requests == []
        assert 'crown_attempts_total{servant="a",outcome="answered"} 6' in httpx.get(f"{at.url}/metrics").text


def test_a_new_connection_that_breaks_is_a_failure(tmp_path: Path) -> None:
    def closes(handler: Handler, body: dict[str, Any]) -> None:
        handler.close_connection = True

    with crowned(tmp_path) as (at, [first, second]):
        first.behaviour = closes
        assert client(at).chat.completions.create(model="crown", messages=USER).to_dict()["crown"]
        assert (len(first.requests), len(second.requests)) == (1, 1)


def test_too_many_open_files_are_no_fault_of_a_servant(tmp_path: Path) -> None:
    low = ("sh", "-c", 'ulimit -n 100; exec "$0" "$@"')
    with servant() as one, ExitStack() as stack:
        config = {"servants": [{"name": "a", "url": one.url}], "kimicho": False}
        at = stack.enter_context(gateway(tmp_path, config, prefix=low))
        asking = stack.enter_context(httpx.Client())
        asking.get(f"{at.url}/healthz")
        with ExitStack() as flood:
            for _ in range(150):
                flood.enter_context(socket.create_connection(("127.0.0.1", at.port), timeout=10))
            files = Path(f"/proc/{at.process.pid}/fd")
            until_sync(lambda: len(list(files.iterdir())) == 100)
            for _ in range(4):
                answer = asking.post(f"{at.url}/v1/chat/completions", json={"messages": USER})
                assert answer.status_code == 502 and "too many open files here" in answer.text
            assert 'crown_servant_healthy{servant="a"} 1' in asking.get(f"{at.url}/metrics").text
        until_sync(lambda: asking.post(f"{at.url}/v1/chat/completions", json={"messages": USER}).is_success)


def test_a_servant_over_https_is_asked_through_the_proxy_of_the_environment(tmp_path: Path) -> None:
    """The gateway and Router.complete take the same one; neither hands the key to a proxy for plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, servant() as plain:
        port = proxy.getsockname()[1]
        heads: list[bytes] = []

        def refuse() -> None:
            for _ in range(2):
                connection, _ = proxy.accept()
                with connection, connection.makefile("rb") as lines:
                    heads.append(b"".join(iter(lines.readline, b"\r\n")))
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        refusing = threading.Thread(target=refuse, daemon=True)
        refusing.start()
        environ = {"HTTPS_PROXY": f"http://crown:pa55w0rd@127.0.0.1:{port}", "ALL_PROXY": "", "all_proxy": ""}
        environ |= {"NO_PROXY": "localhost", "no_proxy": "localhost"}
        servants = [{"name": "far", "url": "https://models.invalid/v1"}, {"name": "near", "url": plain.url}]
        config = {"servants": servants, "rules": [{"use": ["far"]}], "kimicho": False}
        with gateway(tmp_path, config, **environ) as at:
            answer = client(at).chat.completions.create(model="crown", messages=USER)
            assert answer.to_dict()["crown"]["servant"] == "near"  # type: ignore[index]
            script = (
                "import json, sys, neoabzu_crown as c\n"
                "print(c.Router(json.load(open(sys.argv[1]))).complete(json.loads(sys.argv[2]))['crown']['servant'])"
            )
            command = [sys.executable, "-c", script, str(tmp_path / "crown.json"), json.dumps(USER)]
            blocking = subprocess.run(
                command, env=environment(**environ), capture_output=True, text=True, timeout=30
            )
            assert blocking.stdout.strip() == "near", blocking.stderr
        refusing.join(10)
        for head in heads:
            assert head.startswith(b"CONNECT models.invalid:443 HTTP/1.1\r\n")
            assert b"proxy-authorization: basic y3jvd246cge1nxcwcmq=\r\n" in head.lower()
        assert len(heads) == 2


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


def test_a_new_connection_to_the_gateway_does_not_mean_one_to_the_servant(tmp_path: Path) -> None:
    """Each of its threads, at most 8, has its own."""
    with crowned(tmp_path, count=1) as (at, [first]):
        for _ in range(40):
            assert httpx.post(f"{at.url}/v1/chat/completions", json={"messages": USER}).status_code == 200
        assert len(first.requests) == 40 and len(first.clients) <= 8


def test_a_servant_nobody_asks_is_looked_at() -> None:
    """Active health: it goes down and comes back without a request that finds out."""
    with servant() as one:
        router = Router({"servants": [{"name": "a", "url": one.url}], "kimicho": False})
        server = Served(router, probe_interval=0.02)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            for one.look, status in ((500, 503), (200, 200), (500, 503)):
                until_sync(lambda: httpx.get(f"{server.url}/readyz").status_code == status)  # noqa: B023
            assert one.requests == []
        finally:
            server.stop()
            thread.join()


def test_a_servant_that_was_never_heard_is_not_ready(tmp_path: Path) -> None:
    """All are looked at as soon as the gateway serves; one that says nothing does not hold up the others."""
    gone = {"name": "gone", "url": f"http://127.0.0.1:{closed_port()}"}
    with socket.create_server(("127.0.0.1", 0)) as mute, servant() as one:
        silent = {"name": "silent", "url": f"http://127.0.0.1:{mute.getsockname()[1]}"}
        with gateway(tmp_path, {"servants": [gone, silent], "kimicho": False}) as at:
            for _ in range(3):
                answer = httpx.get(f"{at.url}/readyz")
                assert (answer.status_code, answer.json()["servants"]) == (
                    503,
                    {"gone": False, "silent": False},
                )
            mute.accept()[0].close()
        there = {"name": "there", "url": one.url}
        with gateway(tmp_path, {"servants": [gone, silent, there], "kimicho": False}) as at:
            until_sync(lambda: httpx.get(f"{at.url}/readyz").status_code == 200)
            told = httpx.get(f"{at.url}/readyz").json()["servants"]
            assert told == {"gone": False, "silent": False, "there": True} and one.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_kimicho_answers_last(stream: bool, tmp_path: Path) -> None:
    with servant(replies(200, completion({"content": MARKED}))) as k2:
        kimicho = {"endpoint": k2.url, "model": "kimi-k2", "timeout": 2}
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
    kimicho = {"endpoint": f"http://key-of-k2:s3cret@127.0.0.1:{closed_port()}", "timeout": 1}
    with crowned(tmp_path, kimicho=kimicho) as (at, [first, second]):
        first.behaviour = second.behaviour = hangs
        with pytest.raises(openai.InternalServerError) as failed:
            client(at).chat.completions.create(model="crown", messages=USER)
        error: Any = failed.value.body
        assert [entry["servant"] for entry in error["trail"]] == ["a", "b", "kimicho"]
        assert "nothing listens there" in error["message"] and "s3cret" not in str(error)
