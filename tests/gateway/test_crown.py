"""RAZAR shakes hands with the gateway as it does with any Crown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.crown.support import shake
from tests.gateway.support import Gateway, Handler, environment, gateway, hangs, says, servant
from tests.support.signals import send_to_other_thread
from tests.support.waiting import until_sync

SERVANTS = [{"name": "glm", "url": "http://127.0.0.1:1", "model": "GLM-4.1V", "capabilities": ["vision"]}]
CONFIG: dict[str, Any] = {"servants": SERVANTS, "kimicho": False}


def crown_url(at: Gateway) -> str:
    return at.url.replace("http://", "ws://") + "/crown"


async def test_it_agrees_and_tells_what_it_offers(tmp_path: Path) -> None:
    downtime = {"crown_router": {"reason": "upgrade", "until": "2999-01-01T00:00:00Z"}}
    config = CONFIG | {"crown": {"capabilities": ["extra"], "downtime": downtime}}
    with gateway(tmp_path, config) as at:
        outcome = await shake(crown_url(at), tmp_path)
    assert outcome.accepted
    assert outcome.crown_version.endswith("+gateway")
    assert outcome.acknowledgement == "mission demo acknowledged"
    assert outcome.capabilities == ("extra", "glm", "GLM-4.1V", "vision")
    assert outcome.downtime["crown_router"].reason == "upgrade"
    assert outcome.warnings == ()


async def test_it_refuses(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG | {"crown": {"refuse": "drydock"}}) as at:
        outcome = await shake(crown_url(at), tmp_path)
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"{at.url}/metrics")).text
        assert 'crown_handshakes_total{status="refused"} 1' in metrics
    assert (outcome.status, "drydock" in str(outcome.reason)) == ("refused", True)


def test_only_who_knows_the_token_is_served(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG, CROWN_TOKEN="operators-token") as at:
        for path, status in [("healthz", 200), ("readyz", 503), ("metrics", 401), ("v1/models", 401)]:
            assert httpx.get(f"{at.url}/{path}").status_code == status
        shown = {"Authorization": "Bearer operators-token"}
        assert httpx.get(f"{at.url}/v1/models", headers=shown).status_code == 200
        for other in ("bearer operators-token", "BEARER  operators-token"):
            assert httpx.get(f"{at.url}/v1/models", headers={"Authorization": other}).status_code == 200
        for wrong in ("operators-token", "Bearer", "Bearer operators-token2", "Basic operators-token"):
            assert httpx.get(f"{at.url}/v1/models", headers={"Authorization": wrong}).status_code == 401
        twice = [("Authorization", "Bearer operators-token")] * 2
        assert httpx.get(f"{at.url}/v1/models", headers=twice).status_code == 401


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "neoabzu_crown", *arguments]
    return subprocess.run(command, env=environment(**environ), capture_output=True, text=True, timeout=20)


def test_used_badly(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"servants": [{"name": "a", "url": "http://user:pa55w0rd@"}], "surprise": 1}')
    for arguments, environ, words in [
        (["--port", "70000"], {}, "70000"),
        (["--config", str(tmp_path / "none.json")], {}, "No such file"),
        (["--config", str(bad)], {}, "servants[0].url"),
        (["--host", "0.0.0.0"], {}, "CROWN_TOKEN"),
        ([], {"SERVANT_MODELS": "glm"}, "name=url"),
    ]:
        done = run(*arguments, **environ)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr and "pa55w0rd" not in done.stderr


@pytest.mark.parametrize(
    "name", ["SERVANT_MODELS", "CROWN_TOKEN", "KIMI2_ENDPOINT", "KIMI_K2_URL", "KIMI2_API_KEY", "KEY_OF_A"]
)
def test_a_variable_that_is_no_text(tmp_path: Path, name: str) -> None:
    config = {"kimicho": {"endpoint": "http://127.0.0.1:1"}} if name == "KIMI2_API_KEY" else {}
    if name == "KEY_OF_A":
        config = {"servants": [{"name": "a", "url": "http://127.0.0.1:1", "api_key_env": name}]}
    path = tmp_path / "crown.json"
    path.write_text(json.dumps(config))
    done = run("--config", str(path), **{name: os.fsdecode(b"a=http://pa55w0rd\xff")})
    assert done.returncode == 2 and "Traceback" not in done.stderr and "pa55w0rd" not in done.stderr
    assert f"configuration: {name}: its value is not UTF-8 text; set it anew" in done.stderr


def test_a_taken_port(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG) as at:
        done = run("--port", str(at.port))
    assert (done.returncode, "cannot listen on 127.0.0.1" in done.stderr) == (1, True)


def test_it_finishes_what_is_under_way(tmp_path: Path) -> None:
    """Told to stop while a servant thinks, it waits for the answer; idle connections do not count."""
    thinking, go_on = threading.Event(), threading.Event()

    def thinks(handler: Handler, body: dict[str, Any]) -> None:
        thinking.set()
        go_on.wait(20)
        says("at last")(handler, body)

    with servant(thinks) as slow:
        with gateway(tmp_path, {"servants": [{"name": "a", "url": slow.url}], "kimicho": False}) as at:
            import socket

            answers: list[httpx.Response] = []
            body = {"messages": [{"role": "user", "content": "hi"}]}
            asking = threading.Thread(
                target=lambda: answers.append(
                    httpx.post(f"{at.url}/v1/chat/completions", json=body, timeout=30)
                )
            )
            with socket.create_connection(("127.0.0.1", at.port)), httpx.Client() as idle:
                idle.get(f"{at.url}/healthz")
                asking.start()
                assert thinking.wait(10)
                at.process.send_signal(signal.SIGTERM)
                while _listens(at.port):
                    pass
                assert at.process.poll() is None
                go_on.set()
                asking.join()
                assert at.process.wait(5) == 0
            assert answers[0].json()["choices"][0]["message"]["content"] == "at last"


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with servant(hangs) as slow:
        with gateway(tmp_path, {"servants": [{"name": "a", "url": slow.url}], "kimicho": False}) as at:
            body = {"messages": [{"role": "user", "content": "hi"}]}

            def ask() -> None:
                with pytest.raises(httpx.TransportError):
                    httpx.post(f"{at.url}/v1/chat/completions", json=body, timeout=30)

            asking = threading.Thread(target=ask)
            asking.start()
            while not slow.requests:
                pass
            at.process.send_signal(signal.SIGTERM)
            while _listens(at.port):
                pass
            at.process.send_signal(signal.SIGINT)
            assert at.process.wait(5) == 0
            asking.join()


BRIEF = {
    "type": "mission_brief",
    "version": 1,
    "mission": "demo",
    "boot_id": "b",
    "sent_at": "2026-11-30T00:00:00Z",
    "priority_map": {},
    "current_status": {},
    "open_issues": [],
}


def websocket(at: Gateway) -> ClientConnection:
    return connect(crown_url(at), subprotocols=[Subprotocol("razar.crown.v1")])


def test_it_finishes_a_handshake_that_is_under_way(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG) as at, websocket(at) as socket:
        at.process.send_signal(signal.SIGTERM)
        while _listens(at.port):
            pass
        socket.send(json.dumps(BRIEF))
        assert json.loads(socket.recv(10))["status"] == "ack"
        with pytest.raises(ConnectionClosedOK):
            socket.recv(10)
        assert at.process.wait(10) == 0


def test_it_takes_leave_of_websockets_that_say_nothing(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG, "--grace", "1") as at, websocket(at) as socket:
        at.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosedOK) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
        assert at.process.wait(10) == 0


def test_websockets_are_connections(tmp_path: Path) -> None:
    """They count, they take a place among those there may be, and they make room again."""
    from neoabzu_crown import Gateway as Served
    from neoabzu_crown import Router

    served = Served(Router(CONFIG), max_connections=2)
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        with httpx.Client() as client:

            def connections() -> str:
                text = client.get(f"{served.url}/metrics").text
                [line] = [line for line in text.splitlines() if line.startswith("crown_connections ")]
                return line.removeprefix("crown_connections ")

            assert connections() == "1"
            url = served.url.replace("http://", "ws://") + "/crown"
            with connect(url, subprotocols=[Subprotocol("razar.crown.v1")]):
                assert connections() == "2"
                with pytest.raises(httpx.TransportError):
                    httpx.get(f"{served.url}/healthz")
            until_sync(lambda: connections() == "1")
            assert httpx.get(f"{served.url}/healthz").status_code == 200
    finally:
        served.stop()
        thread.join()


def _listens(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_gateway_runs_once() -> None:
    from neoabzu_crown import Gateway as Served
    from neoabzu_crown import Router

    served = Served(Router(CONFIG))
    thread = threading.Thread(target=served.run)
    thread.start()
    served.stop()
    thread.join()
    with pytest.raises(OSError, match="only once"):
        served.run()


def test_a_signal_that_another_thread_hears_stops_it_too(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG) as at:
        assert httpx.get(f"{at.url}/healthz").status_code == 200
        send_to_other_thread(at.process.pid, signal.SIGTERM)
        assert at.process.wait(20) == 0
