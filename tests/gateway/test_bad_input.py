"""What clients can do wrong: each gets a clear error, and the service goes on."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

import neoabzu_crown as crown
from tests.gateway.support import Gateway, Handler, Servant, gateway, servant
from tests.support.waiting import until_sync

BODY = {"model": "crown", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Servant]:
    with servant() as made:
        yield made


@pytest.fixture(scope="module")
def at(upstream: Servant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = {"servants": [{"name": "a", "url": upstream.url}], "kimicho": False}
    with gateway(tmp_path_factory.mktemp("gateway"), config) as running:
        yield running


@pytest.fixture(autouse=True)
def goes_on(at: Gateway) -> Iterator[None]:
    yield
    answer = httpx.post(f"{at.url}/v1/chat/completions", json=BODY)
    assert (answer.status_code, at.process.poll()) == (200, None)


def post(at: Gateway, content: bytes, **headers: str) -> httpx.Response:
    return httpx.post(f"{at.url}/v1/chat/completions", content=content, headers=headers, timeout=20)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', 400, "not UTF-8"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "not JSON"),
        (b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', 400, "NUL"),
        (b'{"messages": [{"role": "user", "content": ""}]}', 400, "empty"),
        (b'{"messages": []}', 400, "empty"),
        (b"[" * 200_000, 400, "nests more than 127"),
        (
            b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
            400,
            "messages[0].content: is given twice",
        ),
        (
            b'{"messages": [{"role": "user", "content": "a"}], "messages": []}',
            400,
            "messages: is given twice",
        ),
        (
            b'{"messages": [{"role": "user", "content": "a"}], "x": ' + b"[" * 200 + b"]" * 200 + b"}",
            400,
            "nests",
        ),
        (b'{"messages": [{"role": "user", "content": NaN}]}', 400, "not JSON"),
        (
            json.dumps(BODY | {"messages": [{"role": "user", "content": "x" * (2 << 20)}]}).encode(),
            413,
            "routed",
        ),
        (b"x" * (10 << 20), 413, "more than"),
        (json.dumps(BODY | {"stream": "yes"}).encode(), 400, "stream"),
        (json.dumps(BODY | {"context": 1}).encode(), 400, "context"),
        (json.dumps(BODY | {"model": "x\r\nSet-Cookie: 1"}).encode(), 404, "no model"),
    ],
)
def test_bodies(at: Gateway, content: bytes, status: int, words: str) -> None:
    answer = post(at, content)
    error = answer.json()["error"]
    assert (answer.status_code, words in error["message"]) == (status, True), error
    assert error["type"] == "invalid_request_error" and "set-cookie" not in answer.headers


def test_paths_and_methods(at: Gateway) -> None:
    assert httpx.get(f"{at.url}/nothing").status_code == 404
    assert httpx.get(f"{at.url}/v1/chat/completions").status_code == 405
    plain = httpx.get(f"{at.url}/crown")
    assert (plain.status_code, plain.json()["error"]["code"]) == (426, "no_websocket")
    assert httpx.get(f"{at.url}/healthz").json() == {"status": "ok"}


def raw(at: Gateway, data: bytes, *, wait: float = 10) -> bytes:
    """Send bytes and return what comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", at.port), timeout=wait) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA\x00: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 1000 + b"\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nZ\r\n",
    ],
)
def test_what_is_no_http(at: Gateway, data: bytes) -> None:
    try:
        answer = raw(at, data)
    except ConnectionResetError:
        return
    assert answer == b"" or answer.split(b" ")[1].startswith(b"4"), answer[:200]


def test_a_web_page_is_not_served(at: Gateway) -> None:
    assert post(at, json.dumps(BODY).encode(), Origin="http://127.0.0.1").status_code == 403
    assert httpx.get(f"{at.url}/healthz", headers={"Host": "evil.example"}).status_code == 421
    assert httpx.get(f"{at.url}/healthz", headers={"Host": f"localhost:{at.port}"}).status_code == 200


def test_a_client_that_goes_away_leaves_nothing_behind(at: Gateway, upstream: Servant) -> None:
    body = json.dumps(BODY).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", at.port)) as connection:
            connection.sendall(head.encode() + body)
    until_sync(lambda: 'crown_servant_under_way{servant="a"} 0' in httpx.get(f"{at.url}/metrics").text)


def test_slow_clients_are_cut_off(upstream: Servant, tmp_path: Path) -> None:
    """One sends its head a byte at a time, one its body: both lose, nobody else notices."""
    script = (
        "import neoabzu_crown as c, sys\n"
        "c.serve({'servants': [{'name': 'a', 'url': sys.argv[1]}]}, header_timeout=0.5, body_timeout=0.5,"
        " ready=lambda g: print(g.url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script, upstream.url], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            slow = Gateway(process, process.stdout.readline().decode().strip())  # type: ignore[arg-type]
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
            assert b" 408 " in raw(slow, head + b"\r\n{").split(b"\r\n")[0] + b" "
            assert raw(slow, head)[:12] in {b"", b"HTTP/1.1 408"}
            assert raw(slow, b"")[:12] in {b"", b"HTTP/1.1 408"}
        finally:
            process.terminate()
        assert process.wait(10) == 0


def test_ten_thousand_idle_connections(upstream: Servant, tmp_path: Path) -> None:
    """Started with the usual limit of 1,024 open files the gateway takes what it is permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 10_000
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        pytest.skip(f"this machine permits {hard} open files a process")
    config = {"servants": [{"name": "a", "url": upstream.url}], "kimicho": False}
    low = ("sh", "-c", 'ulimit -Sn 1024; exec "$0" "$@"')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    try:
        with gateway(tmp_path, config, prefix=low) as at, ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(("127.0.0.1", at.port), timeout=10))
            answer = httpx.post(f"{at.url}/v1/chat/completions", json=BODY, timeout=20)
            assert answer.status_code == 200

            def metric(name: str) -> int:
                text = httpx.get(f"{at.url}/metrics", timeout=20).text
                [value] = re.findall(rf"^{name} (\d+)", text, re.MULTILINE)
                return int(value)

            # Each of its threads counts those it was given.
            until_sync(lambda: metric("crown_connections") > count)
            assert metric("crown_connections_turned_away_total") == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "limits", [{"port": 70_000}, {"port": -1}, {"max_body": -1}, {"max_body": 0}, {"max_connections": 0}]
)
def test_a_limit_nobody_can_keep(limits: dict[str, int]) -> None:
    with pytest.raises(crown.ConfigurationError, match=f"{next(iter(limits))}: .*expected a number from"):
        crown.Gateway(crown.Router({"servants": [], "kimicho": False}), **limits)  # type: ignore[arg-type]


def test_connections_beyond_the_limit_are_closed_and_counted(upstream: Servant) -> None:
    server = crown.Gateway(crown.Router({"servants": [], "kimicho": False}), max_connections=2)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with httpx.Client() as one, httpx.Client() as other:
            for client in (one, other):
                assert client.get(f"{server.url}/healthz").status_code == 200
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as third:
                assert third.recv(1) == b""
            assert "crown_connections_turned_away_total 1" in one.get(f"{server.url}/metrics").text
    finally:
        server.stop()
        thread.join()


@pytest.mark.parametrize(
    "header",
    [
        b"traceparent: 00-x\x0bX-Evil: 1",
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n X-Evil: 1",
        b"X-A: 1\rX-Evil: 1",
        b"X-A: 1\nX-Evil: 1",
        b"authorization: Bearer \xff",
    ],
)
def test_headers_go_no_further(at: Gateway, upstream: Servant, header: bytes) -> None:
    """Whatever is put into a request's head, a servant gets the head that the gateway makes."""
    upstream.requests.clear()
    body = json.dumps(BODY | {"metadata": {"a": "b\r\nX-Evil: 1"}, "user": "u\r\nX-Evil: 1"}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    answer = raw(at, head + header + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.split(b" ")[1] in (b"200", b"400") and b"x-evil" not in answer.lower().split(b"\r\n\r\n")[0]
    for _, headers, _ in upstream.requests:
        assert headers.keys() <= {"host", "accept", "content-type", "content-length", "user-agent"}, headers


def test_credentials_of_a_servant_are_shown_nowhere(upstream: Servant, tmp_path: Path) -> None:
    def tells(handler: Handler, body: dict[str, Any]) -> None:
        said = {"error": {"message": f"no: {handler.headers['authorization']}"}}
        if not body.get("stream"):
            handler.answer(500, said)
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(b"data: " + json.dumps(said).encode() + b"\n\n")
        handler.close_connection = True

    with servant(tells) as one:
        url = one.url.replace("http://", "http://crown:pa55w0rd@")
        other = {"name": "b", "url": one.url, "api_key_env": "KEY_OF_B"}
        config = {"servants": [{"name": "a", "url": url}, other], "kimicho": {"endpoint": url}}
        with gateway(tmp_path, config, KEY_OF_B="sk-of-the-other") as at:
            told = [
                httpx.post(f"{at.url}/v1/chat/completions", json=BODY | more)
                for more in ({}, {"stream": True})
            ]
            told += [httpx.get(f"{at.url}/{path}") for path in ("metrics", "readyz", "v1/models", "healthz")]
            listed = Path(f"/proc/{at.process.pid}/cmdline").read_text()
        texts = [f"{answer.headers} {answer.text}" for answer in told]
    assert told[0].status_code == 502 and len(one.requests) >= 6
    for text in [*texts, listed, (tmp_path / "gateway.log").read_text()]:
        for secret in ("pa55w0rd", "Y3Jvd246cGE1NXcwcmQ", "sk-of-the-other"):
            assert secret not in text


def test_the_metrics_are_openmetrics(at: Gateway) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    answer = httpx.get(f"{at.url}/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    parse: Any = text_string_to_metric_families
    families = {family.name: family for family in parse(answer.text)}
    assert {"crown_http_requests", "crown_attempts", "crown_attempt_seconds", "crown_servant_healthy"} <= set(
        families
    )
    paths = {sample.labels.get("path") for sample in families["crown_http_requests"].samples}
    assert paths <= {"/v1/chat/completions", "/v1/models", "/crown", "/healthz", "/metrics", "other"}
