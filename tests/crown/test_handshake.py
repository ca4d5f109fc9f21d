"""The handshake as it should go: what is sent, with which credentials, and what is written down."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from razar.config.model import CrownSettings
from razar.crown import dialogues
from razar.crown_embedded import embedded_crown
from razar.crown_handshake import agree
from tests.crown.support import (
    BRIEF,
    COMPONENTS,
    YES,
    Peer,
    answering,
    brief_of,
    frame,
    listening,
    shake,
    upgrade,
)
from tests.support.descriptors import none_left_open

SECRET = "sw0rdf1sh-and-more"
CERTIFICATE = Path(__file__).with_name("tls") / "localhost.pem"


class Seen:
    """What a peer saw: the heads of the requests and the briefs."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.briefs: list[dict[str, Any]] = []

    def peer(self, answer: object) -> Peer:
        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.heads.append((await upgrade(reader, writer)).decode())
            self.briefs.append(await brief_of(reader))
            writer.write(frame(answer if isinstance(answer, str) else json.dumps(answer)))
            await writer.drain()
            await reader.read(1)

        return peer

    def headers(self, name: str) -> list[str]:
        pairs = (line.partition(": ") for line in self.heads[-1].split("\r\n")[1:])
        return [value for key, _, value in pairs if key.lower() == name]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def lines(logs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (logs / "razar_crown_dialogues.jsonl").read_text().splitlines()]


def archived(logs: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in (logs / "mission_briefs").iterdir()}


async def test_the_brief_arrives_in_its_envelope(seen: Seen, tmp_path: Path) -> None:
    async with listening(seen.peer(YES)) as port:
        outcome = await shake(
            f"ws://127.0.0.1:{port}/crown?x=1", tmp_path, brief=BRIEF | {"extra": [1, None]}
        )
    assert outcome.accepted
    assert outcome.url == f"ws://127.0.0.1:{port}/crown"
    [brief] = seen.briefs
    assert brief.pop("sent_at").endswith("Z")
    envelope = {"type": "mission_brief", "version": 1, "mission": "demo", "boot_id": "boot-1"}
    assert brief == envelope | BRIEF | {"extra": [1, None]}
    assert seen.heads[0].startswith("GET /crown?x=1 HTTP/1.1\r\n")
    assert seen.headers("sec-websocket-protocol") == ["razar.crown.v1"]
    assert seen.headers("sec-websocket-extensions") == []
    assert seen.headers("authorization") == []


@pytest.mark.parametrize(
    ("userinfo", "token", "expected"),
    [
        ("", "t0ken-value", "Bearer t0ken-value"),
        ("", " t0ken-value\n", "Bearer t0ken-value"),
        ("crown:p%40ss-word@", None, "Basic Y3Jvd246cEBzcy13b3Jk"),
        ("crown:p%40ss-word@", "t0ken-value", "Bearer t0ken-value"),
    ],
)
async def test_credentials_go_into_one_header(
    userinfo: str, token: str | None, expected: str, seen: Seen, tmp_path: Path
) -> None:
    async with listening(seen.peer(YES)) as port:
        outcome = await shake(f"ws://{userinfo}127.0.0.1:{port}", tmp_path, token=token)
    assert outcome.accepted
    assert seen.headers("authorization") == [expected]
    assert outcome.url == f"ws://127.0.0.1:{port}/"


@pytest.mark.parametrize("token", ["two\r\nX-Forged: 1", "tökén", "a b"])
async def test_a_token_that_is_no_header_is_never_sent(token: str, seen: Seen, tmp_path: Path) -> None:
    async with listening(seen.peer(YES)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path, token=token)
    assert outcome.status == "unreachable"
    assert "token" in str(outcome.reason) and token not in str(outcome.reason)
    assert seen.heads == []


@pytest.mark.parametrize(
    ("traceparent", "sent"),
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", True),
        ("00-x\r\nEvil: 1", False),
        (None, False),
    ],
)
async def test_the_trace_travels(traceparent: str | None, sent: bool, seen: Seen, tmp_path: Path) -> None:
    async with listening(seen.peer(YES)) as port:
        assert (await shake(f"ws://127.0.0.1:{port}", tmp_path, traceparent=traceparent)).accepted
    assert seen.headers("traceparent") == ([traceparent] if sent else [])


@pytest.mark.parametrize(
    "url", ["ws://192.0.2.1:1", "ws://crown.example", "ws://localhost.example:1", "ws://127.1:1"]
)
async def test_plaintext_beyond_loopback_is_not_sent(url: str, tmp_path: Path) -> None:
    outcome = await shake(url, tmp_path)
    assert outcome.status == "unreachable"
    assert "CROWN_ALLOW_PLAINTEXT=1" in str(outcome.reason)
    assert not (tmp_path / "mission_briefs").exists()


async def test_plaintext_can_be_allowed(tmp_path: Path) -> None:
    outcome = await shake("ws://crown.invalid:1", tmp_path, environ={"CROWN_ALLOW_PLAINTEXT": "1"})
    assert "cannot be resolved" in str(outcome.reason)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "ws://",
        "ws://:80",
        "ws://127.0.0.1:99999",
        "ws://[::1",
        "crown",
        "ws://a b/",
        "ws://ü/",
        "ws://u:hunter2secret@",
        "ws://127.0.0.1/\x1b[2J",
    ],
)
async def test_a_url_that_is_none_is_told_without_repeating_it(url: str, tmp_path: Path) -> None:
    outcome = await shake(url, tmp_path)
    assert outcome.status == "unreachable"
    assert str(outcome.reason).startswith("the URL of Crown is not valid: ")
    assert "hunter2secret" not in repr(outcome)


async def test_policy_off_sends_nothing(seen: Seen, tmp_path: Path) -> None:
    async with listening(seen.peer(YES)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path, policy="off")
    assert (outcome.status, outcome.accepted, seen.heads) == ("offline", False, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("brief", "fault"),
    [({"priority_map": {"a": "first"}}, "priority_map"), ({"notes": "n" * (1 << 20)}, "1,048,576")],
)
async def test_a_brief_that_cannot_be_sent(
    brief: dict[str, Any], fault: str, seen: Seen, tmp_path: Path
) -> None:
    async with listening(seen.peer(YES)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path, brief=brief)
    assert outcome.status == "unreachable"
    assert fault in str(outcome.reason)
    assert seen.heads == []


async def test_both_frames_are_recorded(seen: Seen, tmp_path: Path) -> None:
    async with listening(seen.peer(YES)) as port:
        await shake(f"ws://127.0.0.1:{port}", tmp_path)
    sent, received = lines(tmp_path)
    assert (sent["direction"], received["direction"]) == ("sent", "received")
    assert sent["frame"] == seen.briefs[0]
    assert received["frame"] == YES
    for line in (sent, received):
        assert (line["mission"], line["boot_id"]) == ("demo", "boot-1")
        assert line["time"].endswith("Z") and line["timestamp"] > 1.7e9
    path = tmp_path / "razar_crown_dialogues.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    files = archived(tmp_path)
    [name] = [name for name in files if not name.endswith("_response.json")]
    assert name.startswith("demo_") and ":" not in name
    assert files == {name: seen.briefs[0], name.replace(".json", "_response.json"): YES}


@pytest.mark.parametrize("answer", ["garbage", json.dumps({"ack": "no"})])
async def test_a_refusal_is_archived_too(answer: str, tmp_path: Path) -> None:
    async with listening(answering(answer)) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    [response] = [content for name, content in archived(tmp_path).items() if name.endswith("_response.json")]
    assert response == (
        {"ack": "no"} if answer != "garbage" else {"status": "refused", "reason": outcome.reason}
    )
    assert [line["direction"] for line in lines(tmp_path)] == ["sent", "received"]


async def test_secrets_reach_no_file_and_no_outcome(tmp_path: Path) -> None:
    """A Crown that knows our token says it wherever it can; components are not taken for secrets."""
    answer = {
        "ack": f"no, {SECRET} is not welcome",
        "crown_version": SECRET,
        "capabilities": [SECRET],
        "downtime": {SECRET: {"reason": SECRET}},
        "auth_token": "unknown-to-us",
        SECRET: {"deep": [f"x{SECRET}x", "ws://user:hunter2@host/", "Authorization: Bearer abcdefghij"]},
    }
    brief = BRIEF | {"current_status": {"token_service": "running"}, "open_issues": [f"failed with {SECRET}"]}
    environ = {"KIMI2_API_KEY": "k1mi-" + SECRET}
    async with listening(answering(json.dumps(answer))) as port:
        url = f"ws://crown:{SECRET}2@127.0.0.1:{port}/?key={SECRET}"
        outcome = await shake(url, tmp_path, token=SECRET, brief=brief, environ=environ)
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json*"))
    for text in (written, repr(outcome), json.dumps(outcome.to_state())):
        for secret in (SECRET, "hunter2", "abcdefghij", "k1mi"):
            assert secret not in text
    assert "unknown-to-us" not in written
    assert lines(tmp_path)[0]["frame"]["current_status"] == {"token_service": "running"}


@pytest.mark.parametrize(
    "extra",
    [
        {"notes": "n" * 500_000},
        {"notes": ["n" * 100] * 5000},
        {"numbers": [1234567] * 60_000},
        {"n" * 200 + str(i): "n" for i in range(2000)},
        {"notes": "x" * (65_536 - 60) + SECRET * 10},
    ],
)
async def test_a_huge_frame_is_cut_in_the_record(extra: dict[str, Any], tmp_path: Path) -> None:
    async with listening(answering(json.dumps(YES | extra))) as port:
        assert (await shake(f"ws://127.0.0.1:{port}", tmp_path, token=SECRET)).accepted
    received = lines(tmp_path)[1]
    assert received["bytes"] > 65_000
    assert len(json.dumps(received["frame"])) < 2 * 65_536
    assert received["note"] == "cut after 65,536 characters"
    assert "sw0rdf1sh" not in json.dumps(received)


async def test_a_frame_that_is_slow_to_mask_does_not_stop_the_loop(tmp_path: Path) -> None:
    """One mebibyte of what begins like a URL with a password, over and over."""
    hostile = json.dumps(YES | {"notes": "abcdefghijklmnopqrstuvwxyz://" * 36_000})
    async with asyncio.timeout(15), listening(answering(hostile)) as port:
        assert (await shake(f"ws://127.0.0.1:{port}", tmp_path)).accepted


async def test_the_record_is_appended_to_even_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "razar_crown_dialogues.jsonl"
    path.write_text('{"older": 1}\n{"torn": ')
    async with listening(answering(json.dumps(YES))) as port:
        await shake(f"ws://127.0.0.1:{port}", tmp_path)
    first, torn, *new = path.read_text().splitlines()
    assert (first, torn) == ('{"older": 1}', '{"torn": ')
    assert [json.loads(line)["direction"] for line in new] == ["sent", "received"]


async def test_the_record_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogues, "LOG_LIMIT", 100)
    path = tmp_path / "razar_crown_dialogues.jsonl"
    path.write_text('{"older": 1}\n' * 10)
    async with listening(answering(json.dumps(YES))) as port:
        await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert sorted(file.name for file in tmp_path.glob("razar_crown*")) == [path.name, f"{path.name}.1"]
    assert [line["direction"] for line in lines(tmp_path)] == ["received"]


async def test_a_record_that_cannot_be_written_is_told_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "mission_briefs").write_text("in the way")
    (tmp_path / "razar_crown_dialogues.jsonl").mkdir()
    async with listening(answering(json.dumps(YES))) as port:
        outcome = await shake(f"ws://127.0.0.1:{port}", tmp_path)
    assert outcome.accepted
    assert [warning.split(":")[0] for warning in outcome.warnings] == [
        f"the mission brief could not be archived in {tmp_path}/mission_briefs",
        "the sent frame could not be recorded",
        "the received frame could not be recorded",
    ]


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_a_trusted_certificate(seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with listening(seen.peer(YES), ssl=_tls()) as port:
        outcome = await shake(f"wss://localhost:{port}", tmp_path)
    assert outcome.accepted, outcome.reason


@pytest.mark.parametrize(
    ("trusted", "context", "words"),
    [(False, _tls, "certificate is not trusted (self"), (True, lambda: None, "TLS failed (")],
)
async def test_tls_that_fails_is_unreachable(
    trusted: bool,
    context: Callable[[], ssl.SSLContext | None],
    words: str,
    seen: Seen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1)

    tls = context()
    async with listening(seen.peer(YES) if tls else plain, ssl=tls) as port:
        outcome = await shake(f"wss://localhost:{port}", tmp_path, token=SECRET)
    assert outcome.status == "unreachable"
    assert words in str(outcome.reason)
    assert seen.heads == []


async def _agree(settings: CrownSettings, logs: Path, lifetime: AsyncExitStack, **environ: str) -> Any:
    return await agree(
        settings,
        BRIEF,
        mission="demo",
        boot_id="boot-1",
        logs=str(logs),
        components=COMPONENTS,
        token="of-the-environment",
        environ=environ,
        lifetime=lifetime,
    )


async def test_without_a_url_the_embedded_crown_agrees_for_the_life_of_the_boot(tmp_path: Path) -> None:
    models = "kimi=http://127.0.0.1:1,glm-4.1v-9b=http://127.0.0.1:2,broken,=x"
    async with AsyncExitStack() as boot:
        outcome = await _agree(CrownSettings(), tmp_path, boot, SERVANT_MODELS=models)
        assert outcome.accepted
        assert outcome.crown_version.endswith("+embedded")
        assert outcome.capabilities == ("kimi", "glm-4.1v-9b")
        port = int(outcome.url.rsplit(":", 1)[1].strip("/"))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    assert [line["direction"] for line in lines(tmp_path)] == ["sent", "received"]


async def test_a_configured_crown_is_asked_instead(tmp_path: Path) -> None:
    async with (
        AsyncExitStack() as boot,
        embedded_crown(token="of-the-environment", refuse="drydock") as crown,
    ):
        outcome = await _agree(CrownSettings(url=crown.url), tmp_path, boot)
        assert (outcome.status, outcome.reason) == ("refused", "Crown refused the mission: drydock")


async def test_policy_off_starts_no_embedded_crown(tmp_path: Path) -> None:
    async with AsyncExitStack() as boot:
        with none_left_open():
            outcome = await _agree(CrownSettings(policy="off"), tmp_path, boot)
    assert outcome.status == "offline"
