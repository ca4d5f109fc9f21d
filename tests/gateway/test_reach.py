"""How the gateway reaches servants: connections that are kept, proxies, looks, and servants that are gone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from neoabzu_crown import Gateway as Served
from neoabzu_crown import Router
from tests.gateway.openai_client import USER, client, crowned, looked_at
from tests.gateway.support import (
    Handler,
    closes_kept_connections,
    environment,
    fails,
    gateway,
    says,
    servant,
)
from tests.support.ports import free_port
from tests.support.waiting import until_sync


def test_servants_that_are_gone_come_back(tmp_path: Path) -> None:
    """Failing three times it is left alone; once it works it is asked again."""
    with crowned(tmp_path) as (at, [first, _]):
        looked_at(at)
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
        until_sync(lambda: asking.get(f"{at.url}/readyz").is_success)
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
    gone = {"name": "gone", "url": f"http://127.0.0.1:{free_port()}"}
    with socket.create_server(("127.0.0.1", 0)) as mute, servant() as one:
        silent = {"name": "silent", "url": f"http://127.0.0.1:{mute.getsockname()[1]}"}
        with gateway(tmp_path, {"servants": [gone, silent], "kimicho": False}) as at:
            for _ in range(3):
                answer = httpx.get(f"{at.url}/readyz")
                assert (answer.status_code, answer.json()["servants"]) == (
                    503,
                    {"gone": False, "silent": False},
                )
            metrics = httpx.get(f"{at.url}/metrics").text
            for name in ("gone", "silent"):
                assert f'crown_servant_healthy{{servant="{name}"}} 0' in metrics
            mute.accept()[0].close()
        there = {"name": "there", "url": one.url}
        with gateway(tmp_path, {"servants": [gone, silent, there], "kimicho": False}) as at:
            until_sync(lambda: httpx.get(f"{at.url}/readyz").status_code == 200)
            told = httpx.get(f"{at.url}/readyz").json()["servants"]
            assert told == {"gone": False, "silent": False, "there": True} and one.requests == []
