"""``expect`` decides about the answer: exactly true, or it failed."""

from __future__ import annotations

from typing import Any

import pytest

from razar.config.model import Probe
from tests.probes.checking import attempt, refusal
from tests.support.components import sh
from tests.support.http_server import serve

JSON = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Up: yes\r\nContent-Length: 15\r\n\r\n"
    b'{"ready": true}'
)
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


async def ask(said: bytes, expect: str, evaluate: Any) -> str | None:
    async with serve(said) as peer:
        probe = Probe(kind="http", target=f"http://127.0.0.1:{peer.port}/", expect=expect)
        return await attempt(probe, evaluate=evaluate)


async def test_variables_of_an_answer() -> None:
    seen: dict[str, Any] = {}

    def evaluate(expression: str, variables: dict[str, Any]) -> object:
        assert expression == "json.ready"
        seen.update(variables)
        return True

    assert await ask(JSON, "json.ready", evaluate) is None
    assert 0 < seen.pop("elapsed") < 10
    assert seen == {
        "status": 200,
        "headers": {"content-type": "application/json", "x-up": "yes", "content-length": "15"},
        "body": '{"ready": true}',
        "json": {"ready": True},
    }


async def test_false() -> None:
    error = await ask(JSON, "body == 'up'", lambda *_: False)
    assert error == "expect (body == 'up') is false; the status is 200"


@pytest.mark.parametrize("value", [1, "true", None, [True]])
async def test_what_is_not_exactly_true(value: object) -> None:
    error = await ask(JSON, "body", lambda *_: value)
    assert error == f"expect (body) gives {type(value).__name__}, expected true or false"


async def test_error_of_the_expression() -> None:
    def evaluate(*_: object) -> object:
        raise LookupError("no such key: reddy, at column 6")

    assert await ask(JSON, "json.reddy", evaluate) == (
        "expect (json.reddy) failed: no such key: reddy, at column 6"
    )


async def test_body_that_is_no_json() -> None:
    error = await ask(JSON.replace(b'"ready"', b"'ready'"), "json.ready", lambda *_: True)
    assert error is not None
    assert error.startswith("the answer is not JSON: ")


@pytest.mark.parametrize(
    "expect",
    [
        "body == 'busy'",
        "json.status == 1",
        "json['status'] == 1",
        "headers.status == ''",
        "body != 'the status is \\'ok\\''",
    ],
)
async def test_status_must_be_2xx_all_the_same(expect: str) -> None:
    assert "HTTP 503" in (await ask(BUSY, expect, lambda *_: True) or "")


@pytest.mark.parametrize("expect", ["status == 503", "status in [200, 503]", "!(status > 599)"])
async def test_status_is_left_to_an_expression_that_looks_at_it(expect: str) -> None:
    assert await ask(BUSY, expect, lambda *_: True) is None


async def test_exit_status_of_a_command() -> None:
    def evaluate(_: str, variables: dict[str, Any]) -> object:
        return variables["status"] == 3 and variables["body"] == "up\n"

    probe = Probe(
        kind="cmd", argv=sh("echo up; exit 3"), expect="status == 3 && body == 'up\\n'", timeout=5.0
    )
    assert await attempt(probe, evaluate=evaluate) is None
    assert "exited with 3" in await refusal(Probe(kind="cmd", argv=probe.argv, timeout=5.0))
