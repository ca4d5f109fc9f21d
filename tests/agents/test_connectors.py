"""The connector check, as operators run it, against real servers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.razar.connectors.check import LOGGER, check_all, exit_code, report
from agents.razar.connectors.settings import SettingsError, configured, metrics_url
from razar.crown_embedded import embedded_crown
from razar.metrics import Store, init_metrics
from razar.projections import metrics_server
from tests.agents.server import Request, answering, http, serving
from tests.support.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "health_check_connectors.py"
KEY = "k-connector-0123456789"
COMPLETION = {"choices": [{"text": "", "finish_reason": "length"}]}


def check(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run the script with nothing configured but ``environ``; returns exit code, stdout and stderr."""
    ours = ("RAZAR_", "CROWN_", "KIMI2_", "AIRSTAR_", "RSTAR_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    variables = {"RAZAR_METRICS_PORT": "0"} | variables | environ
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--timeout", "5", *arguments],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def rows(out: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(out)}


@contextlib.contextmanager
def crown() -> Iterator[tuple[str, str]]:
    """An embedded Crown in a thread: its URL and token."""
    ready: list[tuple[str, str]] = []
    started, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with embedded_crown(capabilities=()) as crown:
            ready.append((crown.url, crown.token or ""))
            started.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield ready[0]
    finally:
        over.set()
        thread.join()


@pytest.fixture
def metrics_port() -> Iterator[int]:
    metrics_server.stop()
    port = init_metrics(0, store=Store())
    assert port is not None
    yield port
    metrics_server.stop()


def test_nothing_configured() -> None:
    code, out, err = check()
    assert code == 2 and "nothing is configured" in out
    assert "CROWN_WS_URL is not set" in out and "embedded" in out
    assert f"INFO {LOGGER} connector=crown" in err


def test_everything_healthy(metrics_port: int) -> None:
    with crown() as (url, token), serving(answering(http("fine", 204))) as api:
        code, out, err = check(
            "--json",
            CROWN_WS_URL=url,
            CROWN_TOKEN=token,
            RAZAR_METRICS_PORT=str(metrics_port),
            RAZAR_CONNECTORS=f"operator_api=http://user:pa55word@localhost:{api.port}/health?a=1,2",
            RAZAR_CONNECTOR_OPERATOR_API_TOKEN=KEY,
        )
    found = rows(out)
    assert code == 0 and list(found) == ["crown", "metrics", "operator_api"]
    assert {row["status"] for row in found.values()} == {"healthy"}
    assert [row["http_code"] for row in found.values()] == [101, 200, 204]
    assert all(0 < row["latency"] < 60 and row["hint"] == "" for row in found.values())
    assert found["operator_api"]["endpoint"] == f"http://localhost:{api.port}/health"
    (request,) = api.requests
    assert (request.method, request.path) == ("GET", "/health?a=1,2")
    assert request.headers["authorization"] == f"Bearer {KEY}" and request.headers["x-api-key"] == KEY
    assert not any(secret in out + err for secret in (KEY, "pa55word", token))


def test_each_unhealthy_one_has_a_hint() -> None:
    with (
        serving(answering(http("", 503))) as ill,
        serving(answering(http("", 401))) as locked,
        serving(answering(http("", 302, Location="http://evil/"))) as moved,
        serving(answering(http("up 1"))) as other,
    ):
        connectors = {"ill": ill.port, "locked-one": locked.port, "moved": moved.port, "gone": free_port()}
        code, out, err = check(
            "--json",
            CROWN_WS_URL=f"ws://localhost:{other.port}/",
            RAZAR_METRICS_PORT=str(other.port),
            RAZAR_CONNECTORS=" ".join(
                f"{name}=http://localhost:{port}/" for name, port in connectors.items()
            ),
        )
    found = rows(out)
    assert code == 1 and {row["status"] for row in found.values()} == {"unhealthy"}
    hints = {name: (row["http_code"], row["hint"]) for name, row in found.items()}
    for name, status, words in [
        ("crown", 200, "instead of opening a websocket: check its path"),
        ("metrics", 200, "not RAZAR's"),
        ("ill", 503, "not healthy"),
        ("locked-one", 401, "RAZAR_CONNECTOR_LOCKED_ONE_TOKEN"),
        ("moved", 302, "redirect"),
        ("gone", None, "nothing listens there"),
    ]:
        assert hints[name][0] == status and words in hints[name][1], (name, hints[name])
    assert f"WARNING {LOGGER} connector=gone" in err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h/", "does not begin with ws://"),
        ("ws://crown.example/", "use wss://"),
        ("ws://localhost:{closed}/", "nothing listens there"),
    ],
)
def test_a_crown_that_cannot_be_asked(url: str, words: str) -> None:
    (row, _) = check_all(
        {"CROWN_WS_URL": url.format(closed=free_port()), "RAZAR_METRICS_PORT": "0"}, timeout=5
    )
    assert row.status == "unhealthy" and words in row.hint


def test_a_crown_that_does_not_accept_the_token() -> None:
    with crown() as (url, _):
        (row, _) = check_all(
            {"CROWN_WS_URL": url, "CROWN_TOKEN": "wrong-token", "RAZAR_METRICS_PORT": "0"}, timeout=5
        )
    assert row.status == "unhealthy" and row.http_code == 401 and "CROWN_TOKEN" in row.hint


def test_a_crown_behind_a_redirect_is_not_followed() -> None:
    with crown() as (url, token), serving(answering(http("", 302, Location=url))) as moved:
        environ = {"CROWN_WS_URL": moved.url("/", "ws"), "CROWN_TOKEN": token, "RAZAR_METRICS_PORT": "0"}
        (row, _) = check_all(environ, timeout=5)
    assert row.status == "unhealthy" and row.http_code == 302 and "redirect" in row.hint


def test_a_websocket_that_is_no_crown() -> None:
    def open_websocket(connection: socket.socket, request: Request, released: threading.Event) -> None:
        # RFC 6455, 4.2.2, without a subprotocol.
        key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        head = (
            f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}"
        )
        connection.sendall(head.encode() + b"\r\n\r\n")
        released.wait(1)

    with serving(open_websocket) as server:
        (row, _) = check_all({"CROWN_WS_URL": server.url("/", "ws"), "RAZAR_METRICS_PORT": "0"}, timeout=5)
    assert row.status == "unhealthy" and "razar.crown.v1" in row.hint


def test_the_recorded_payloads_are_sent_only_when_asked_for_and_the_cost_is_told_first() -> None:
    with serving(answering(http(COMPLETION))) as agent:
        environ = {
            "KIMI2_ENDPOINT": agent.url("/v1/chat/completions"),
            "KIMI2_API_KEY": KEY,
            "RSTAR_ENDPOINT": agent.url("/v1/completions"),
        }
        assert check("--json", **environ)[0] == 2
        assert agent.requests == []
        code, out, err = check("--json", "--include-remote", **environ)
    found = rows(out)
    assert code == 0 and [found[name]["status"] for name in ("kimi2", "airstar", "rstar")] == [
        "healthy",
        "skipped",
        "healthy",
    ]
    assert found["airstar"]["hint"] == "AIRSTAR_ENDPOINT is not set"
    assert err.startswith("note: asking remote agents") and "kimi2 at most 512 tokens" in err.splitlines()[0]
    assert "airstar" not in err.splitlines()[0]
    sent = {request.path: request for request in agent.requests}
    folder = REPOSITORY / "tests" / "integration" / "remote_agents"
    recorded = json.loads((folder / "kimi_k2_completion.json").read_text())["request"]
    assert sent["/v1/chat/completions"].json == recorded | {"auth_token": KEY}
    recorded = json.loads((folder / "rstar_completion.json").read_text())["request"]
    assert sent["/v1/completions"].json == recorded
    assert KEY not in out + err


def test_the_base_of_a_service_is_asked_as_a_repair_would_ask_it() -> None:
    with serving(answering(http(COMPLETION))) as agent:
        environ = {"KIMI2_ENDPOINT": agent.url("/v1"), "RSTAR_ENDPOINT": agent.url("")}
        code, out, _ = check("--json", "--include-remote", **environ)
    assert code == 0
    assert {request.path for request in agent.requests} == {"/v1/chat/completions", "/v1/completions"}
    assert rows(out)["kimi2"]["endpoint"] == agent.url()


def test_another_model_is_asked_for_by_its_name_and_without_the_recorded_sampling() -> None:
    with serving(answering(http(COMPLETION))) as agent:
        environ = {"KIMI2_ENDPOINT": agent.url(), "KIMI2_MODEL": "kimi-k2.6"}
        assert check("--include-remote", **environ)[0] == 0
    (request,) = agent.requests
    assert request.json["model"] == "kimi-k2.6" and "temperature" not in request.json


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (http({"error": {"type": "resource_not_found_error", "message": KEY}}, 404), 404, "KIMI2_MODEL"),
        (
            http({"error": {"type": "invalid_authentication_error", "message": "no"}}, 401),
            401,
            "KIMI2_API_KEY",
        ),
        (http("<html>sign in"), 200, "not with a completion"),
        (b"", None, "connection"),
    ],
)
def test_a_remote_agent_that_is_not_well(answer: bytes, status: int | None, words: str) -> None:
    with serving(answering(answer)) as agent:
        environ = {"KIMI2_ENDPOINT": agent.url(), "KIMI2_API_KEY": KEY, "RAZAR_METRICS_PORT": "0"}
        found = check_all(environ, timeout=5, recordings={"Kimi2": {"model": "m"}})
    row = next(row for row in found if row.name == "kimi2")
    assert (row.status, row.http_code) == ("unhealthy", status) and words in row.hint and KEY not in row.hint
    assert " at " not in row.hint  # Where it is has a column of its own.
    assert exit_code(found) == 1


def test_the_default_metrics_endpoint_is_only_missed_where_somebody_configured_it() -> None:
    port = free_port()
    environ = {"RAZAR_METRICS_PORT": str(port)}
    (_, row) = check_all(environ, timeout=5)
    assert row.status == "unhealthy" and "no mission runs here" in row.hint
    assert metrics_url({}) == ("http://127.0.0.1:9360/metrics", False)
    assert metrics_url({"RAZAR_METRICS_HOST": "::"}) == ("http://[::1]:9360/metrics", True)
    assert metrics_url({"RAZAR_METRICS_PORT": "0"}) is None


def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    report(check_all({"RAZAR_METRICS_PORT": "0", "CROWN_WS_URL": "nonsense"}, timeout=5))
    assert [(record.name, record.levelname) for record in caplog.records] == [
        (LOGGER, "WARNING"),
        (LOGGER, "INFO"),
    ]


@pytest.mark.parametrize(
    "text", ["http://h/", "A=http://h/", "a=http://h/,a=http://g/", "a=http://h/,=http://g/"]
)
def test_connectors_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SettingsError, match="RAZAR_CONNECTORS, entry"):
        configured({"RAZAR_CONNECTORS": text})
    code, out, err = check(RAZAR_CONNECTORS=text)
    assert code == 2 and not out and "RAZAR_CONNECTORS, entry" in err


def test_bad_usage() -> None:
    for arguments in (["--timeout", "0"], ["--timeout", "nan"], ["--what"]):
        assert check(*arguments)[0] == 2
