"""Whatever a Crown does, the handshake has an outcome with a reason, in time, and it is no success."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import pytest

from tests.crown.support import (
    YES,
    answering,
    brief_of,
    close_frame,
    frame,
    listening,
    request,
    shake,
    upgrade,
)

BIG = "x" * (10 * 1024 * 1024)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("{}", "empty object"),
        ("[]", "a list"),
        ('[{"ack": "yes"}]', "a list"),
        ('"ack"', "text"),
        ("null", "null"),
        ("17", "whole number"),
        ("hello there", "not JSON"),
        ('{"ack": "yes"', "not JSON"),
        ('{"ack": "no"}', "did not acknowledge"),
        ('{"ack": false}', "did not acknowledge"),
        ('{"ack": ""}', "did not acknowledge"),
        ('{"ack": 1}', "malformed"),
        ('{"ack": ["yes"]}', "malformed"),
        ('{"capabilities": ["GLM-4.1V"]}', "did not acknowledge"),
        ('{"ack": "yes", "capabilities": "GLM-4.1V"}', "malformed: capabilities"),
        ('{"ack": "yes", "downtime": []}', "malformed: downtime"),
        ('{"ack": "yes", "downtime": {"../../x": {}}}', 'downtime names "../../x"'),
        ('{"type": "ack", "status": "refused", "ack": "not today"}', "refused the mission: not today"),
        ('{"type": "ack", "ack": "yes"}', "status is missing"),
        ('{"type": "hello", "ack": "yes"}', "type"),
        ('{"type": "mission_brief", "version": 1, "ack": "yes"}', "type"),
        ("[" * 100_000, "nested"),
        ('{"ack":' * 500 + "1" + "}" * 500, "nested"),
        ('{"ack": "\\ud800"}', "not JSON"),
        ('{"ack": "yes", "crown_version": ' + "9" * 6000 + "}", "malformed"),
    ],
)
async def test_answers_that_are_no_yes_are_refusals(answer: str, reason: str, tmp_path: Path) -> None:
    async with listening(answering(answer)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.status == "refused"
    assert not outcome.accepted
    assert outcome.reason is not None and reason in outcome.reason
    assert outcome.capabilities == () and outcome.downtime == {}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (frame(json.dumps(YES), opcode=2), "binary frame"),
        (frame(b"\xff\xfe{}"), "not UTF-8"),
        (frame(BIG), "larger than 1,048,576 bytes"),
        (b"".join(frame("x" * 65536, 1 if i == 0 else 0, final=False) for i in range(17)), "larger than"),
        (b"".join(frame(b"", 0 if i else 1, final=False) for i in range(1024)), "too many fragments"),
        (frame("{}", opcode=0), "protocol"),
        (frame("{}", opcode=11), "protocol"),
        (b"\x81\x85mask!!!!!", "protocol"),
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (close_frame(1000), "code 1000"),
        (close_frame(1008, "no such mission"), "code 1008: no such mission"),
    ],
)
async def test_broken_frames_and_closings_are_refusals(sent: bytes, reason: str, tmp_path: Path) -> None:
    async with listening(answering(sent)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.status == "refused"
    assert outcome.reason is not None and reason in outcome.reason


async def test_a_fragmented_answer_is_put_together(tmp_path: Path) -> None:
    text = json.dumps(YES)
    parts = [text[:10], text[10:11], text[11:]]
    sent = (
        frame(parts[0], 1, final=False)
        + frame(b"ping", 9)
        + frame(parts[1], 0, final=False)
        + frame(parts[2], 0)
    )
    async with listening(answering(sent)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.accepted


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
async def test_a_crown_that_cannot_talk_now_is_unreachable(code: int, tmp_path: Path) -> None:
    async with listening(answering(close_frame(code))) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert (outcome.status, outcome.accepted) == ("unreachable", False)


async def test_a_connection_cut_instead_of_an_answer_is_unreachable(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await brief_of(reader)

    async with listening(peer) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.status == "unreachable"
    assert outcome.reason == "the connection to Crown broke while waiting for the answer"


async def test_nobody_listening_is_told_in_plain_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        outcome = await shake(f"ws://127.0.0.1:{port}/crown", tmp_path)
    assert outcome.status == "unreachable"
    assert outcome.reason == f"ws://127.0.0.1:{port}/crown cannot be reached: nothing listens there"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".invalid"])
async def test_a_name_that_cannot_be_resolved_is_told(host: str, tmp_path: Path) -> None:
    outcome = await shake(f"wss://{host}:1", tmp_path)
    assert outcome.status == "unreachable"
    assert outcome.reason is not None and "cannot be resolved" in outcome.reason


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [
        ("401 Unauthorized", "refused", "CROWN_TOKEN"),
        ("403 Forbidden", "refused", "CROWN_TOKEN"),
        ("404 Not Found", "unreachable", "HTTP 404"),
        ("500 Internal Server Error", "unreachable", "HTTP 500"),
        ("200 OK", "unreachable", "HTTP 200"),
    ],
)
async def test_http_answers_instead_of_a_websocket(
    status: str, outcome: str, words: str, tmp_path: Path
) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhello".encode())
        await writer.drain()
        await reader.read()

    async with listening(peer) as port:
        result = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert result.status == outcome
    assert result.reason is not None and words in result.reason


@pytest.mark.parametrize("same_origin", [True, False])
async def test_redirects_are_not_followed(same_origin: bool, tmp_path: Path) -> None:
    visits: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await request(reader))

    async with listening(elsewhere) as other:
        target = "/moved" if same_origin else f"ws://127.0.0.1:{other}/moved"

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits.append(await request(reader))
            writer.write(f"HTTP/1.1 307 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            await reader.read(1)

        async with listening(peer) as port:
            outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path, token="secret-token")
    assert [visit.split(b" ")[1] for visit in visits] == [b"/"]
    assert outcome.status == "unreachable"
    assert outcome.reason is not None and "redirect" in outcome.reason


async def test_the_proxies_of_the_environment_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with listening(answering(json.dumps(YES))) as port:
        assert (await shake(f"ws://127.0.0.1:{port}", tmp_path)).accepted


@pytest.mark.parametrize(
    "banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff" * 5000, b"HTTP/1.1 101 X\r\n\r\n", b""]
)
async def test_what_is_no_websocket_server_is_unreachable(banner: bytes, tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(banner)
        await writer.drain()

    async with listening(peer) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.status == "unreachable"
    assert outcome.reason == f"what answers at ws://127.0.0.1:{port}/ is not a websocket server"


async def test_another_subprotocol_is_unreachable(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer, subprotocol="chat")
        await reader.read()

    async with listening(peer) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.status == "unreachable"
    assert outcome.reason is not None and "does not speak razar.crown.v1" in outcome.reason


async def test_a_crown_that_names_no_subprotocol_is_taken(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer, subprotocol=None)
        await brief_of(reader)
        writer.write(frame(json.dumps(YES)))
        await reader.read()

    async with listening(peer) as port:
        assert (await shake(f"ws://127.0.0.1:{port}", tmp_path)).accepted


async def _silent_from_the_start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _silent_after_the_brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await upgrade(reader, writer)
    await asyncio.Event().wait()


async def _byte_by_byte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await upgrade(reader, writer)
    for byte in frame(json.dumps(YES)):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def _endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        writer.write(b"X")
        await asyncio.sleep(0.01)


async def _ping_flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await upgrade(reader, writer)
    while True:
        writer.write(frame(b"p" * 100, opcode=9) * 20)
        await writer.drain()
        await asyncio.sleep(0)


async def _endless_fragments(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await upgrade(reader, writer)
    writer.write(frame("{", 1, final=False))
    while True:
        writer.write(frame(b"", 0, final=False))
        await writer.drain()
        await asyncio.sleep(0.005)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "peer",
    [
        _silent_from_the_start,
        _silent_after_the_brief,
        _byte_by_byte,
        _endless_head,
        _ping_flood,
        _endless_fragments,
    ],
)
async def test_a_crown_that_takes_too_long_is_given_up(peer: object, tmp_path: Path) -> None:
    async with listening(peer) as port:  # type: ignore[arg-type]
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path, timeout=0.4)
    assert outcome.status == "unreachable"
    assert outcome.reason is not None and "took too long" in outcome.reason and "0.4 s" in outcome.reason


@pytest.mark.timeout(20)
async def test_a_crown_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    brief = {"notes": ["n" * 1000] * 1000}
    async with listening(peer) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path, timeout=0.5, brief=brief)
    assert outcome.status == "unreachable"
    assert outcome.reason is not None and "took too long" in outcome.reason


@pytest.mark.timeout(20)
async def test_an_answer_counts_even_if_crown_never_closes(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await brief_of(reader)
        writer.write(frame(json.dumps(YES)))
        await asyncio.Event().wait()

    async with listening(peer) as port:
        assert (await shake(f"ws://127.0.0.1:{port}", tmp_path)).accepted


async def test_cancelling_leaves_no_connection_behind(tmp_path: Path) -> None:
    ended = asyncio.Event()
    reached = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await brief_of(reader)
        reached.set()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        ended.set()

    async with listening(peer) as port:
        task = asyncio.create_task(shake(f"ws://127.0.0.1:{port}", tmp_path))
        await asyncio.wait_for(reached.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 5)
