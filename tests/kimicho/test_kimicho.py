"""The client of Kimi K2: answers, the table of errors, limits, and that the key stays where it belongs."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

import neoabzu_kimicho as kimicho
from tests.gateway.support import (
    MARKED,
    Handler,
    Servant,
    completion,
    fails,
    hangs,
    replies,
    says,
    servant,
)
from tests.support.limited import DOUBLED, run_limited
from tests.support.ports import free_port

KEY = "sk-very-secret-key"
USER = [{"role": "user", "content": "hello"}]


@pytest.fixture
def k2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servant]:
    for name in ("KIMI2_ENDPOINT", "KIMI2_API_KEY", "KIMI2_MODEL", "KIMI_K2_URL"):
        monkeypatch.delenv(name, raising=False)
    with servant() as made:
        kimicho.init_kimicho(made.url, api_key=KEY, model="kimi-k2", timeout=15)
        yield made


def waits_a_second(k2: Servant) -> None:
    """For servants that are never done; the others are waited for as long as a busy machine may need."""
    kimicho.init_kimicho(k2.url, api_key=KEY, model="kimi-k2", timeout=1)


def test_a_prompt_is_answered(k2: Servant) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert kimicho.fallback_k2("hi", traceparent=trace) == "hello"
    [(path, headers, body)] = k2.requests
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}" and headers["traceparent"] == trace
    assert body == {"messages": [{"role": "user", "content": "hi"}], "model": "kimi-k2"}


def test_connections_are_kept(k2: Servant) -> None:
    for _ in range(5):
        kimicho.fallback_k2("hi")
    assert (len(k2.requests), len(k2.clients)) == (5, 1)


def test_a_full_url_is_used_as_it_is(k2: Servant) -> None:
    kimicho.init_kimicho(f"http://127.0.0.1:{k2.port}/deep/chat/completions?v=1")
    kimicho.fallback_k2("hi")
    assert k2.requests[0][0] == "/deep/chat/completions?v=1"


def test_the_environment_configures_it(k2: Servant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIMI_K2_URL", k2.url)
    monkeypatch.setenv("KIMI2_API_KEY", "other")
    kimicho.init_kimicho()
    kimicho.fallback_k2("hi")
    assert k2.requests[0][1]["authorization"] == "Bearer other"
    assert k2.requests[0][2]["model"] == "moonshotai/Kimi-K2-Instruct"
    monkeypatch.delenv("KIMI_K2_URL")
    with pytest.raises(kimicho.ConfigurationError, match="KIMI2_ENDPOINT"):
        kimicho.init_kimicho()


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": MARKED}},
        {"message": {"content": MARKED.replace("tool_calls_section", "tool_call_section")}},
        {"message": {"content": "", "reasoning_content": "so " + MARKED}},
        {"text": MARKED},
    ],
)
def test_marked_tool_calls(k2: Servant, choice: dict[str, Any]) -> None:
    k2.behaviour = replies(200, {"choices": [choice | {"finish_reason": "stop"}]})
    answer = kimicho.complete(USER, [{"type": "function", "function": {"name": "fix"}}], temperature=0.3)
    message = answer["choices"][0]["message"]
    assert message["tool_calls"] == [
        {"id": "functions.fix:0", "type": "function", "function": {"name": "fix", "arguments": '{"a": 1}'}}
    ]
    assert k2.requests[0][2]["temperature"] == 0.3
    assert "<|" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("behaviour", "error", "attempts"),
    [
        (fails(400, "content_filter"), kimicho.RequestRefusedError, 1),
        (fails(401, "invalid_authentication_error", f"bad key {KEY}"), kimicho.AuthenticationError, 1),
        (fails(403, "permission_denied_error"), kimicho.AuthenticationError, 1),
        (fails(404, "resource_not_found_error"), kimicho.ConfigurationError, 1),
        (fails(429, "exceeded_current_quota_error"), kimicho.QuotaError, 1),
        (fails(429, "engine_overloaded_error"), kimicho.RateLimitError, 3),
        (fails(500), kimicho.UpstreamError, 3),
        (hangs, kimicho.RequestTimeoutError, 1),
        (replies(200, b"<html>" + KEY.encode()), kimicho.MalformedAnswerError, 1),
        (replies(200, completion({"content": ""})), kimicho.MalformedAnswerError, 1),
        (replies(200, b" " * (9 << 20)), kimicho.MalformedAnswerError, 1),
    ],
)
def test_the_table_of_errors(
    k2: Servant, behaviour: Any, error: type[kimicho.KimichoError], attempts: int
) -> None:
    k2.behaviour = behaviour
    if behaviour is hangs:
        waits_a_second(k2)
    with pytest.raises(error) as failed:
        kimicho.fallback_k2("hi")
    assert type(failed.value) is error
    assert (len(k2.requests), failed.value.attempts) == (attempts, attempts)
    assert KEY not in str(failed.value) and KEY not in repr(vars(failed.value))
    copy = pickle.loads(pickle.dumps(failed.value))
    assert type(copy) is error and str(copy) == str(failed.value) and vars(copy) == vars(failed.value)


def test_it_succeeds_the_second_time(k2: Servant) -> None:
    def once(handler: Handler, body: dict[str, Any]) -> None:
        (fails(503) if len(k2.requests) == 1 else says("better"))(handler, body)

    k2.behaviour = once
    assert kimicho.fallback_k2("hi") == "better"


@pytest.mark.parametrize(
    ("asked_for", "told"),
    [("60", 60.0), ("999999999", 86_400.0), ("Mon, 21 Oct 2999 07:28:00 GMT", 86_400.0)],
)
def test_a_long_wait_is_not_waited_for(k2: Servant, asked_for: str, told: float) -> None:
    error = {"error": {"type": "rate_limit_reached_error", "message": "slow down"}}
    k2.behaviour = replies(429, error, {"Retry-After": asked_for})
    with pytest.raises(kimicho.RateLimitError) as failed:
        kimicho.fallback_k2("hi")
    assert (failed.value.retry_after, failed.value.status, len(k2.requests)) == (told, 429, 1)


def test_a_connection_that_is_not_accepted_ends_in_time(k2: Servant) -> None:
    """Its queue is full: what would connect waits, as with a host that drops every packet."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        stack.enter_context(socket.create_connection(full.getsockname()))
        kimicho.init_kimicho(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.3)
        with pytest.raises(kimicho.RequestTimeoutError, match="no connection within the time limit"):
            kimicho.fallback_k2("hi")


def test_an_answer_that_trickles_ends_in_time(k2: Servant) -> None:
    def trickles(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        while not handler.server.servant.over.wait(0.05):
            handler.wfile.write(b" ")

    k2.behaviour = trickles
    waits_a_second(k2)
    with pytest.raises(kimicho.RequestTimeoutError, match="within the time limit"):
        kimicho.fallback_k2("hi")
    assert len(k2.requests) == 1


def test_the_circuit_opens(k2: Servant) -> None:
    k2.behaviour = fails(501)
    for _ in range(5):
        with pytest.raises(kimicho.UpstreamError):
            kimicho.fallback_k2("hi")
    with pytest.raises(kimicho.UpstreamError, match="not asked") as failed:
        kimicho.fallback_k2("hi")
    assert (failed.value.code, failed.value.attempts, len(k2.requests)) == ("circuit_open", 0, 5)
    kimicho.init_kimicho(k2.url, timeout=15)
    k2.behaviour = says("again")
    assert kimicho.fallback_k2("hi") == "again"


def test_many_failures_at_once_are_one_outage(k2: Servant) -> None:
    together = threading.Barrier(16)

    def at_once(handler: Handler, body: dict[str, Any]) -> None:
        together.wait()
        fails(501)(handler, body)

    def ask() -> None:
        with pytest.raises(kimicho.UpstreamError):
            kimicho.fallback_k2("hi")

    k2.behaviour = at_once
    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(ask) for _ in range(16)]:
            done.result()
    with pytest.raises(kimicho.UpstreamError, match="not asked") as failed:
        kimicho.fallback_k2("hi")
    assert 0 < failed.value.retry_after <= 5


def test_an_empty_balance_is_not_asked_for_again(k2: Servant) -> None:
    k2.behaviour = fails(429, "exceeded_current_quota_error")
    for _ in range(3):
        with pytest.raises(kimicho.QuotaError):
            kimicho.fallback_k2("hi")
    assert len(k2.requests) == 1


def test_the_key_does_not_follow_a_redirect(k2: Servant) -> None:
    with servant() as other:
        for status in (301, 302, 307, 308):
            k2.behaviour = replies(status, b"", {"location": other.url + "/chat/completions"})
            with pytest.raises(kimicho.ConfigurationError, match="redirect"):
                kimicho.fallback_k2("hi")
        assert other.requests == []


def test_nobody_there(k2: Servant) -> None:
    kimicho.init_kimicho(f"http://user:pa55w0rd@127.0.0.1:{free_port()}", timeout=1)
    with pytest.raises(kimicho.UpstreamError, match="nothing listens") as failed:
        kimicho.fallback_k2("hi")
    assert "pa55w0rd" not in str(failed.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": "ftp://k2"}, "http"),
        ({"endpoint": "http://user:pa55w0rd@"}, "no host"),
        ({"api_key": "a\r\nX-Evil: 1"}, "key"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_bad_configuration(k2: Servant, changes: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"endpoint": k2.url} | changes
    with pytest.raises(kimicho.ConfigurationError, match=words) as failed:
        kimicho.init_kimicho(**arguments)
    assert "pa55w0rd" not in str(failed.value) and "Evil" not in str(failed.value)


@pytest.mark.parametrize("name", ["KIMI2_ENDPOINT", "KIMI_K2_URL", "KIMI2_API_KEY", "KIMI2_MODEL"])
def test_a_variable_that_is_no_text(k2: Servant, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KIMI_K2_URL", k2.url)
    monkeypatch.setenv(name, os.fsdecode(b"http://pa55w0rd\xff"))
    with pytest.raises(kimicho.ConfigurationError, match=f"{name}: its value is not UTF-8 text") as failed:
        kimicho.init_kimicho()
    assert "pa55w0rd" not in str(failed.value)


@pytest.mark.parametrize("prompt", ["", " \n", "\ud800", b"bytes", 7, None, "x" * (10 << 20)])
def test_bad_prompts(k2: Servant, prompt: Any) -> None:
    with pytest.raises(kimicho.RequestRefusedError):
        kimicho.fallback_k2(prompt)
    assert k2.requests == []


@pytest.mark.parametrize("messages", [[], None, "hi", [{"role": float("nan")}], [{"x": object()}], {1: 2}])
def test_bad_messages(k2: Servant, messages: Any) -> None:
    with pytest.raises(kimicho.RequestRefusedError):
        kimicho.complete(messages)
    assert k2.requests == []


def test_messages_that_are_in_each_other_many_times_over_are_refused_at_once(k2: Servant) -> None:
    script = f"""
import neoabzu_kimicho as kimicho
{DOUBLED}
kimicho.init_kimicho({k2.url!r}, timeout=1)
for arguments in ([[doubled]], [[{{"role": "user"}}], [doubled]], [["x" * (1 << 20)] * 9], [[0] * (1 << 22)]):
    try:
        kimicho.complete(*arguments)
    except kimicho.RequestRefusedError as error:
        print(error)
"""
    messages, tools, long, many = run_limited(script).splitlines()
    assert messages == many == "messages: too many values, 1000000 are allowed"
    assert tools == "tools: too many values, 1000000 are allowed"
    assert long == "messages: too large as JSON, 8388608 are allowed (bytes)"
    assert k2.requests == []


def test_other_threads_run_while_it_waits(k2: Servant) -> None:
    """The servant is in this process: it could not answer if the interpreter's lock were held."""
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(kimicho.fallback_k2("hi"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["hello"] * 8


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_others_ask(k2: Servant) -> None:
    """A lock that is held at the fork stays locked in the child."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            kimicho.fallback_k2("hi")

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        try:
            for _ in range(200):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(30)  # Ends it if it hangs.
                    status = 1
                    try:
                        status = 0 if kimicho.fallback_k2("child") == "hello" else 2
                    finally:
                        os._exit(status)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        finally:
            over.set()
        for each in asking:
            each.result()


def test_the_environment_may_change_meanwhile() -> None:
    """It is read with the interpreter's lock held, under which `os.environ` changes it."""
    script = """
import os, threading
import neoabzu_crown as crown
import neoabzu_kimicho as kimicho
over = threading.Event()
def change():
    for n in range(40):
        for key in range(3000):
            os.environ[f"VARIABLE_{key}"] = "x" * 50
        for key in range(3000):
            del os.environ[f"VARIABLE_{key}"]
    over.set()
def make():
    while not over.is_set():
        crown.Router({"servants": [{"name": "a", "url": "https://h"}], "kimicho": {"endpoint": "https://h"}})
        kimicho.init_kimicho("https://h")
threads = [threading.Thread(target=target) for target in (change, make, make)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_does_not_share_connections(k2: Servant) -> None:
    kimicho.fallback_k2("before")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if kimicho.fallback_k2("child") == "hello" else 2
        finally:
            os._exit(status)
    assert kimicho.fallback_k2("parent") == "hello"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(k2.requests) == 3
