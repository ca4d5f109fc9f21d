"""What every Crown of ours does: the same handshakes with the embedded Crown and with the gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from razar.crown.protocol import MAX_FRAME, SUBPROTOCOL, brief_frame
from tests.crown.both import CROWNS, Crown
from tests.crown.support import BRIEF, shake

TOKEN = "operators-token"
WHOLE = brief_frame(BRIEF, mission="demo", boot_id="boot-1", sent_at=1758412805.0)

pytestmark = pytest.mark.parametrize("crown", CROWNS)


def speak(url: str, **options: Any) -> connect:
    """Open the websocket as any client would."""
    return connect(url, subprotocols=[SUBPROTOCOL], proxy=None, **options)  # type: ignore[list-item]


async def ask(url: str, frame: str | bytes) -> Any:
    """Send one frame and return the answer, or the closing code."""
    async with speak(url) as socket:
        try:
            await socket.send(frame)
            return json.loads(await asyncio.wait_for(socket.recv(), 10))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


def masked(opcode: int, payload: bytes) -> bytes:
    """One frame as clients send them (RFC 6455, 5.2), under the mask that changes nothing."""
    return bytes([0x80 | opcode, 0xFE]) + len(payload).to_bytes(2) + bytes(4) + payload


async def upgraded(url: str, *headers: str, host: str | None = None, path: str | None = None) -> str:
    """Ask for a websocket byte by byte and return the status of the answer."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [f"GET {path or parts.path} HTTP/1.1", f"Host: {host or parts.netloc}", "Upgrade: websocket"]
    lines += ["Connection: Upgrade", "Sec-WebSocket-Key: " + "A" * 22 + "==", "Sec-WebSocket-Version: 13"]
    lines += [f"Sec-WebSocket-Protocol: {SUBPROTOCOL}", *headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    status = (await reader.readline()).decode().split(" ")[1]
    writer.transport.abort()
    return status


async def test_it_agrees_and_tells_what_it_offers(crown: Crown, tmp_path: Path) -> None:
    downtime = {"crown_router": {"reason": "upgrade", "until": "2999-01-01T00:00:00Z"}}
    async with crown(capabilities=["kimi", "GLM-4.1V"], downtime=downtime) as url:
        outcome = await shake(url, tmp_path)
    assert outcome.accepted
    assert outcome.acknowledgement == "mission demo acknowledged"
    assert outcome.capabilities == ("kimi", "GLM-4.1V")
    assert outcome.downtime["crown_router"].reason == "upgrade"
    assert "+" in outcome.crown_version and outcome.warnings == ()


async def test_it_refuses(crown: Crown, tmp_path: Path) -> None:
    async with crown(refuse="drydock") as url:
        outcome = await shake(url, tmp_path)
    assert (outcome.status, outcome.reason) == ("refused", "Crown refused the mission: drydock")


async def test_only_who_knows_the_token_is_let_in(crown: Crown, tmp_path: Path) -> None:
    bearer = f"Authorization: Bearer {TOKEN}"
    async with crown(token=TOKEN) as url:
        assert await upgraded(url, bearer) == "101"
        for headers in [(), (bearer + "x",), ("Authorization: Bearer \xff\xfe",), (bearer, bearer)]:
            assert await upgraded(url, *headers) == "401"
        assert (await shake(url, tmp_path, token=TOKEN)).accepted
        for token in (None, "another"):
            outcome = await shake(url, tmp_path, token=token)
            assert outcome.status == "refused" and "CROWN_TOKEN" in str(outcome.reason)


async def test_a_web_page_is_not_served(crown: Crown) -> None:
    async with crown() as url:
        port = urlsplit(url).port
        assert await upgraded(url) == "101"
        assert await upgraded(url, host=f"localhost:{port}") == "101"
        assert await upgraded(url, "Origin: http://127.0.0.1") == "403"
        assert await upgraded(url, host=f"evil.example:{port}") == "421"
        assert await upgraded(url, "Host: evil.example") in {"400", "421"}


async def test_the_trace_travels_and_a_bad_one_is_ignored(crown: Crown, tmp_path: Path) -> None:
    async with crown() as url:
        for traceparent in ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x"):
            assert (await shake(url, tmp_path, traceparent=traceparent)).accepted
            assert await upgraded(url, f"traceparent: {traceparent}") == "101"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "   ",
        "null",
        "[]",
        "{}",
        "{",
        "17",
        '"mission_brief"',
        "[" * 5000,
        "x" * 100_000,
        json.dumps(WHOLE | {"type": "ack"}),
        json.dumps(WHOLE | {"version": 2}),
        json.dumps(WHOLE | {"version": True}),
        json.dumps(WHOLE | {"version": "1"}),
        json.dumps(WHOLE | {"mission": "../x"}),
        json.dumps(WHOLE | {"mission": "Demo"}),
        json.dumps(WHOLE | {"mission": "x" * 64}),
        json.dumps(WHOLE | {"mission": "demo\n"}),
        json.dumps(WHOLE | {"boot_id": ""}),
        json.dumps(WHOLE | {"boot_id": "x" * 129}),
        json.dumps(WHOLE | {"boot_id": None}),
        json.dumps(WHOLE | {"sent_at": 5}),
        json.dumps(WHOLE | {"priority_map": {"a": "1"}}),
        json.dumps(WHOLE | {"priority_map": {"a": 1.5}}),
        json.dumps(WHOLE | {"priority_map": {"a": True}}),
        json.dumps(WHOLE | {"priority_map": None}),
        json.dumps(WHOLE | {"current_status": {"a": None}}),
        json.dumps(WHOLE | {"open_issues": [{"detail": "x"}]}),
        json.dumps(WHOLE | {"open_issues": [{"id": "x", "detail": None}]}),
        json.dumps(WHOLE | {"open_issues": [7]}),
        json.dumps(WHOLE | {"objective": ["x"]}),
        json.dumps(WHOLE)[:-1],
        json.dumps(WHOLE).replace('"come up"', '"\\ud800"'),
        json.dumps(WHOLE).replace('"come up"', "NaN"),
        json.dumps(WHOLE | {"more": json.loads("[" * 70 + "]" * 70)}),
    ],
)
async def test_what_is_no_brief_is_refused(crown: Crown, frame: str) -> None:
    async with crown(capabilities=["kimi"]) as url:
        answer = await ask(url, frame)
    assert answer["status"] == "refused" and "capabilities" not in answer
    assert answer["ack"].startswith("not a mission brief: ")


@pytest.mark.parametrize(
    "frame",
    [
        json.dumps(WHOLE),
        json.dumps({key: WHOLE[key] for key in ("type", "version", "mission", "boot_id", "sent_at")}),
        json.dumps(WHOLE | {"objective": None, "open_issues": ["x", {"id": "y"}], "more": [1, None, {}]}),
        json.dumps(WHOLE | {"mission": "0" + "x-_" * 20, "boot_id": "ü" * 128}),
        json.dumps(WHOLE | {"priority_map": {"a": -(2**63), "b": 2**63 - 1}}),
        json.dumps(WHOLE | {"more": json.loads("[" * 60 + "]" * 60)}),
        json.dumps(WHOLE | {"notes": "x" * (MAX_FRAME - 1000)}),
    ],
)
async def test_every_valid_brief_is_agreed_to(crown: Crown, frame: str) -> None:
    async with crown(capabilities=["kimi"]) as url:
        answer = await ask(url, frame)
    assert (answer["status"], answer["capabilities"]) == ("ack", ["kimi"])


async def test_what_is_no_text_frame_is_no_agreement(crown: Crown) -> None:
    async with crown() as url:
        binary = await ask(url, json.dumps(WHOLE).encode())
        assert binary == 1003 or binary["status"] == "refused"
        assert await ask(url, "x" * (MAX_FRAME + 1)) in {1009, None}
        assert (await ask(url, json.dumps(WHOLE)))["status"] == "ack"


async def test_a_fragmented_brief_is_put_together(crown: Crown) -> None:
    text = json.dumps(WHOLE)
    async with crown() as url, speak(url) as socket:
        await socket.send([text[:1], text[1:40], text[40:]])
        assert json.loads(await asyncio.wait_for(socket.recv(), 10))["status"] == "ack"
        # It is one question and one answer: then it hangs up.
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == 1000


async def test_a_client_that_leaves_with_its_brief_disturbs_nobody(crown: Crown, tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    async with crown() as url:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n"
        writer.write(f"{head}Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        close = b"\x88\x82" + bytes(4) + (1000).to_bytes(2)
        writer.write(masked(1, json.dumps(WHOLE).encode()) + close)
        assert (await asyncio.wait_for(reader.read(), 10))[-4:] == b"\x88\x02\x03\xe8"
        writer.close()
        assert (await shake(url, tmp_path)).accepted
    assert faults == []


async def test_another_subprotocol_is_not_spoken(crown: Crown) -> None:
    async with crown() as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, proxy=None)
    assert refused.value.response.status_code == 400


@pytest.mark.timeout(30)
async def test_clients_that_hang_hold_nobody_up(crown: Crown, tmp_path: Path) -> None:
    """Some have sent nothing, some have opened the websocket and say nothing: others shake hands, and it ends."""
    async with asyncio.timeout(20), crown() as url:
        parts = urlsplit(url)
        hanging = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(20)]
        clients = [await speak(url) for _ in range(20)]
        outcomes = await asyncio.gather(*(shake(url, tmp_path / str(number)) for number in range(10)))
        assert all(outcome.accepted for outcome in outcomes)
    for _, writer in hanging:
        writer.transport.abort()
    for client in clients:
        await client.close()
