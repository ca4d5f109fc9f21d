"""Spans of the router, the gateway and Kimi K2, and the trace that goes on to whoever is asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import neoabzu_crown as crown
import neoabzu_kimicho as kimicho
from tests.crown.support import shake
from tests.gateway.support import Handler, Servant, environment, event, fails, says, servant, streams
from tests.support.spans import Recorder, recorder, traceparent

__all__ = ["recorder"]

USER = [{"role": "user", "content": "hello"}]
TRACE, CALLER = "a" * 32, "b" * 16
HEADER = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def two() -> Iterator[list[Servant]]:
    with ExitStack() as stack:
        yield [stack.enter_context(servant(says(f"from {name}"))) for name in "ab"]


def config(two: list[Servant], **more: Any) -> dict[str, Any]:
    entries = [
        {"name": name, "url": each.url, "model": f"model-{name}", "timeout": 20}
        for name, each in zip("ab", two, strict=True)
    ]
    return {"servants": entries, "rules": [{"use": ["a"]}], "kimicho": False} | more


@contextmanager
def serving(config: dict[str, Any]) -> Iterator[str]:
    """Run a gateway in a thread of this process, where the exporter is."""
    gateway = crown.Gateway(crown.Router(config))
    thread = threading.Thread(target=gateway.run)
    thread.start()
    try:
        yield gateway.url
    finally:
        gateway.stop()
        thread.join()


def above(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def own(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def post(url: str, **body: Any) -> httpx.Response:
    body = {"messages": USER} | body
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers={"traceparent": HEADER}, timeout=20)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("crown."): value for name, value in (span.attributes or {}).items()}


def test_a_request_is_a_span_with_one_for_each_that_is_asked(two: list[Servant], recorder: Recorder) -> None:
    two[0].behaviour = fails(500)
    with serving(config(two)) as url:
        assert post(url).status_code == 200
    request = recorder.one("crown.complete")
    first, second = recorder.named("crown.attempt", 2)
    assert {f"{span.context.trace_id:032x}" for span in (request, first, second) if span.context} == {TRACE}
    assert (above(request), request.kind) == (CALLER, SpanKind.SERVER)
    assert {above(first), above(second)} == {own(request)} and first.kind is SpanKind.CLIENT
    assert [each.requests[0][1]["traceparent"] for each in two] == [traceparent(first), traceparent(second)]
    assert attributes(request) == {"servant": "b"} and request.status.status_code is StatusCode.UNSET
    assert attributes(first) == {
        "servant": "a",
        "gen_ai.request.model": "model-a",
        "outcome": "upstream",
        "http.response.status_code": 500,
    }
    assert first.status.status_code is StatusCode.ERROR and "HTTP 500" in str(first.status.description)
    assert attributes(second)["outcome"] == "answered"


def test_a_request_without_a_trace_begins_one(two: list[Servant], recorder: Recorder) -> None:
    with serving(config(two)) as url:
        for header in ({}, {"traceparent": "00-x"}, {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"}):
            httpx.post(f"{url}/v1/chat/completions", json={"messages": USER}, headers=header)
    requests = recorder.named("crown.complete", 3)
    assert [request.parent for request in requests] == [None] * 3
    assert [each[1]["traceparent"] for each in two[0].requests] == [
        traceparent(span) for span in recorder.named("crown.attempt", 3)
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_the_trace_goes_on_to_kimi_k2(two: list[Servant], stream: bool, recorder: Recorder) -> None:
    two[0].behaviour = fails(500)
    k2 = {"endpoint": two[1].url, "model": "k2"}
    with serving(config(two) | {"servants": config(two)["servants"][:1], "kimicho": k2}) as url:
        assert post(url, stream=stream).status_code == 200
    _, last = recorder.named("crown.attempt", 2)
    assert attributes(last) == {"servant": "kimicho", "gen_ai.request.model": "k2", "outcome": "answered"}
    assert two[1].requests[0][1]["traceparent"] == traceparent(last)
    assert attributes(recorder.one("crown.complete"))["servant"] == "kimicho"


def test_the_spans_of_a_stream_end_with_it(two: list[Servant], recorder: Recorder) -> None:
    go_on = threading.Event()

    def slow(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(event({"content": "one"}))
        go_on.wait(10)
        handler.wfile.write(event({}, "stop") + b"data: [DONE]\n\n")
        handler.close_connection = True

    two[0].behaviour = slow
    with serving(config(two)) as url:
        body = {"messages": USER, "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20) as response:
            assert response.status_code == 200 and recorder.names() == set()
            go_on.set()
            assert "[DONE]" in response.read().decode()
        assert attributes(recorder.one("crown.attempt"))["outcome"] == "answered"
        assert attributes(recorder.one("crown.complete")) == {"servant": "a"}


def test_a_stream_that_is_cut_is_a_failure(two: list[Servant], recorder: Recorder) -> None:
    two[0].behaviour = streams("one ", cut=True)
    with serving(config(two)) as url:
        assert "stream was cut" in post(url, stream=True).text
        for name in ("crown.attempt", "crown.complete"):
            span = recorder.one(name)
            assert span.status.status_code is StatusCode.ERROR and "was cut" in str(span.status.description)


def test_what_nobody_could_answer_is_a_failure(two: list[Servant], recorder: Recorder) -> None:
    for each in two:
        each.behaviour = fails(500)
    with serving(config(two)) as url:
        assert post(url).status_code == 502
        assert post(url, messages=[]).status_code == 400
    for span, words in zip(recorder.named("crown.complete", 2), ("none of 2", "empty"), strict=True):
        assert span.status.status_code is StatusCode.ERROR and words in str(span.status.description)


async def test_a_handshake_with_the_gateway_is_in_the_trace_of_the_boot(
    two: list[Servant], tmp_path: Path, recorder: Recorder
) -> None:
    with serving(config(two)) as url:
        outcome = await shake(url.replace("http", "ws") + "/crown", tmp_path, traceparent=HEADER)
        assert outcome.accepted
        handshake = recorder.one("crown.handshake")
    assert (above(handshake), attributes(handshake)) == (CALLER, {"status": "ack"})


def test_calls_from_python_stand_below_what_is_current(two: list[Servant], recorder: Recorder) -> None:
    router = crown.Router(config(two))
    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        router.route_decision("hello")
        router.complete(USER)
        router.complete(USER, traceparent=HEADER)
    inner, given = recorder.named("crown.complete", 2)
    decision = recorder.one("crown.route_decision")
    caller_id = f"{caller.get_span_context().span_id:016x}"
    assert (above(inner), above(decision), above(given)) == (caller_id, caller_id, CALLER)
    assert attributes(decision) == {"servant": "a"}
    attempts = recorder.named("crown.attempt", 2)
    assert [above(attempt) for attempt in attempts] == [own(inner), own(given)]
    assert [each[1]["traceparent"] for each in two[0].requests] == [traceparent(span) for span in attempts]


def test_a_refusal_is_a_failure(two: list[Servant], recorder: Recorder) -> None:
    router = crown.Router(config(two, policies=[{"name": "p", "refuse": "true", "reason": "not here"}]))
    for ask in (lambda: router.route_decision("x"), lambda: router.complete(USER)):
        with pytest.raises(crown.RefusedError):
            ask()
    for name in ("crown.route_decision", "crown.complete"):
        assert "refused by p: not here" in str(recorder.one(name).status.description)


def test_kimi_k2_by_itself(two: list[Servant], recorder: Recorder) -> None:
    kimicho.init_kimicho(two[0].url, model="k2", api_key="sk-very-secret")
    kimicho.fallback_k2("hi", traceparent=HEADER)
    two[0].behaviour = fails(401, message="bad key sk-very-secret")
    with pytest.raises(kimicho.AuthenticationError):
        kimicho.complete(USER)
    answered, failed = recorder.named("kimicho.complete", 2)
    assert (above(answered), attributes(answered)["outcome"]) == (CALLER, "answered")
    assert two[0].requests[0][1]["traceparent"] == traceparent(answered)
    assert attributes(failed)["http.response.status_code"] == 401
    assert "sk-very" not in failed.to_json()


def test_what_is_not_sampled_is_passed_on_as_such(
    two: list[Servant], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace.get_tracer_provider(), "sampler", ALWAYS_OFF)
    crown.Router(config(two)).complete(USER, traceparent=HEADER)
    assert recorder.names() == set()
    header = two[0].requests[0][1]["traceparent"]
    assert header.startswith(f"00-{TRACE}-") and header.endswith("-00")


SCRIPT = """
import sys, neoabzu_crown as crown
router = crown.Router({"servants": [{"name": "a", "url": sys.argv[1]}], "kimicho": False})
router.route_decision("x")
router.complete([{"role": "user", "content": "x"}], traceparent=sys.argv[2])
print([name for name in sys.modules if "opentelemetry" in name])
"""


@pytest.mark.parametrize(
    ("setup", "environ"),
    [
        ("", {}),
        ("import sys; sys.modules['opentelemetry.trace'] = None", {"OTEL_TRACES_EXPORTER": "console"}),
        ("", {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "console"}),
    ],
)
def test_nothing_is_imported_where_nobody_traces(
    two: list[Servant], setup: str, environ: dict[str, str]
) -> None:
    clean = {name: value for name, value in environment().items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", f"{setup}\n{SCRIPT}", two[0].url, HEADER]
    done = subprocess.run(
        command, env=clean | environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert "opentelemetry.sdk" not in done.stdout and "opentelemetry.context" not in done.stdout
    # The trace of the caller goes on all the same.
    assert two[0].requests[0][1]["traceparent"] == HEADER
