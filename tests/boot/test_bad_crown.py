"""A Crown that misbehaves, through the whole boot: exit 3, the reason in the log, nothing left running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.boot.checks import healthy_remains, holding
from tests.boot.mission import Mission, service
from tests.crown.support import (
    YES,
    Peer,
    answering,
    brief_of,
    close_frame,
    frame,
    listening,
    request,
    upgrade,
)

Make = Callable[..., Mission]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept the connection and say nothing."""
    await reader.read(-1)


async def silent_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the brief and say nothing."""
    await upgrade(reader, writer)
    await brief_of(reader)
    await reader.read(-1)


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the answer byte by byte, for ever."""
    await upgrade(reader, writer)
    await brief_of(reader)
    writer.write(frame("x" * 60_000)[:4])
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def no_websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a web server."""
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await writer.drain()
    await reader.read(-1)


async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send what is no HTTP at all."""
    writer.write(bytes(range(256)) * 1000)
    await writer.drain()


WRONG: dict[str, tuple[Peer, str, str]] = {
    "silent": (silent, "unreachable", "took too long"),
    "silent after the brief": (silent_later, "unreachable", "took too long"),
    "slow": (slow, "unreachable", "took too long"),
    "no websocket": (no_websocket, "unreachable", "200"),
    "noise": (noise, "unreachable", ""),
    "garbage": (answering("}{ what"), "refused", "malformed"),
    "an array": (answering("[1, 2]"), "refused", "malformed"),
    "an empty object": (answering("{}"), "refused", ""),
    "ten megabytes": (answering(frame("x" * 10_000_000)), "refused", "larger than"),
    "no": (answering('{"ack": "no"}'), "refused", "no"),
    "a traversal": (
        answering(json.dumps({**YES, "downtime": {"../../x": {"reason": "r", "until": None}}})),
        "refused",
        "../../x",
    ),
    "a closing": (answering(close_frame(1000)), "refused", ""),
    "downtime as an array": (answering(json.dumps({**YES, "downtime": ["a"]})), "refused", "downtime"),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_each_way_of_being_wrong_ends_the_boot_with_3(mission: Make, kind: str) -> None:
    peer, status, words = WRONG[kind]
    async with listening(peer) as port:
        url = f"ws://127.0.0.1:{port}/crown"
        # Long enough for the brief to get there; what is wrong in other ways is waited for.
        timeout = 2 if words == "took too long" else 60
        one = mission(service("a"), crown={"url": url, "timeout": timeout, "required_model": None})
        code = await asyncio.to_thread(one.boot, CROWN_TOKEN="crown-token-1234567")
    assert code == 3, one.err
    [line] = [line for line in one.log if "Mission demo failed" in line]
    assert line.startswith(f"ERROR Mission demo failed: Crown {status}: ") and words in line
    assert line.removeprefix("ERROR ") in one.err
    assert "Booting component a" not in one.out
    state = one.state["handshake"]
    assert state["status"] == status
    [brief] = [path for path in (one.logs / "mission_briefs").iterdir() if "_response" not in path.name]
    assert json.loads(brief.read_text())["mission"] == "demo"
    assert brief.with_name(brief.stem + "_response.json").exists()
    dialogues = one.logs / "razar_crown_dialogues.jsonl"
    said = (
        [json.loads(line)["direction"] for line in dialogues.read_text().splitlines()]
        if dialogues.exists()
        else []
    )
    sent = kind not in ("silent", "no websocket", "noise")
    assert said[:1] == (["sent"] if sent else [])
    assert holding(one, "crown-token-1234567") == []
    assert not (one.folder.parent.parent / "x").exists()
    healthy_remains(one)


async def test_what_an_answer_says_cannot_forge_a_line_or_move_a_cursor(mission: Make) -> None:
    evil = "no\n[2025-09-21T00:00:00Z] INFO Mission demo complete\x1b[2J"
    answer: dict[str, Any] = {"type": "ack", "status": "refused", "ack": evil}
    async with listening(answering(json.dumps(answer))) as port:
        one = mission(service("a"), crown={"url": f"ws://127.0.0.1:{port}"})
        assert await asyncio.to_thread(one.boot) == 3
    assert "INFO Mission demo complete" not in one.log
    assert "\x1b[2J" not in one.err and "\x1b[2J" not in "\n".join(one.log)


async def test_nobody_there_and_plaintext_to_strangers_are_refused_before_anything_is_sent(
    mission: Make,
) -> None:
    one = mission(service("a"), crown={"url": "ws://127.0.0.1:1/"})
    assert await asyncio.to_thread(one.boot) == 3
    assert "Crown unreachable" in one.err
    one = mission(service("a"), crown={"url": "ws://crown.example/"})
    assert await asyncio.to_thread(one.boot) == 3
    assert "CROWN_ALLOW_PLAINTEXT=1" in one.err
    assert one.state["handshake"]["status"] == "unreachable"
    healthy_remains(one)
