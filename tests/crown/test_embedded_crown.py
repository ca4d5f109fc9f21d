"""The Crown that RAZAR brings along: in this process and as a program of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from razar import __version__
from razar.crown_embedded import answer_to, embedded_crown, main, parse_downtime, servant_names
from tests.crown.support import shake


async def test_each_has_a_token_of_its_own(tmp_path: Path) -> None:
    async with embedded_crown() as crown, embedded_crown() as other:
        assert crown.token and crown.token != other.token
        outcome = await shake(crown.url, tmp_path, token=other.token)
        assert outcome.status == "refused" and "CROWN_TOKEN" in str(outcome.reason)


async def test_it_agrees_with_its_version_and_what_it_was_given(tmp_path: Path) -> None:
    downtime = {"crown_router": {"reason": "upgrade", "until": "2999-01-01T00:00:00Z"}}
    async with embedded_crown(capabilities=["kimi"], downtime=downtime) as crown:
        outcome = await shake(crown.url, tmp_path, token=crown.token)
    assert outcome.accepted
    assert outcome.crown_version == f"{__version__}+embedded"
    assert outcome.acknowledgement == "mission demo acknowledged"
    assert outcome.capabilities == ("kimi",)
    assert outcome.downtime["crown_router"].reason == "upgrade"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{}", "binary"),
        ("[]", "a list"),
        ("", "empty"),
        ("{}", "missing required field"),
        ('{"type": "mission_brief", "version": 2}', "version"),
        ('{"type": "ack", "version": 1}', "type"),
    ],
)
def test_it_checks_what_it_receives(raw: str | bytes, words: str) -> None:
    answer = answer_to(raw, capabilities=["kimi"])
    assert answer["status"] == "refused" and "capabilities" not in answer
    assert answer["ack"].startswith("not a mission brief: ") and words in answer["ack"]


@pytest.mark.timeout(20)
async def test_it_ends_at_once_with_clients_that_hang() -> None:
    """One client has sent nothing, one has opened the websocket and says nothing."""
    async with asyncio.timeout(5), embedded_crown(token=None) as crown:
        _, silent = await asyncio.open_connection("127.0.0.1", crown.port)
        from websockets.asyncio.client import connect

        client = await connect(crown.url, subprotocols=["razar.crown.v1"], proxy=None)  # type: ignore[list-item]
    silent.transport.abort()
    await client.close()


def test_a_taken_port_is_told_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert capsys.readouterr().err.startswith(f"cannot listen on 127.0.0.1:{port}: ")


@contextmanager
def program(*arguments: str, token: str | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the Crown as a process; yields its URL."""
    environ = {key: value for key, value in os.environ.items() if key != "CROWN_TOKEN"}
    environ |= {"CROWN_TOKEN": token} if token else {}
    command = [sys.executable, "-m", "razar.crown_embedded", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


async def test_the_program_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    arguments = ["--capability", "GLM-4.1V", "--capability", "kimi"]
    arguments += [
        "--downtime",
        "crown_router=new release@2999-01-01T00:00:00Z",
        "--downtime",
        "basic_service=disk",
    ]
    with program(*arguments, token="operators-token") as (url, process):
        outcome = await shake(url, tmp_path, token="operators-token")
        assert outcome.accepted
        assert outcome.capabilities == ("GLM-4.1V", "kimi")
        assert outcome.to_state()["downtime"] == {
            "crown_router": {"reason": "new release", "until": "2999-01-01T00:00:00Z"},
            "basic_service": {"reason": "disk", "until": None},
        }
        assert (await shake(url, tmp_path)).status == "refused"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


async def test_the_handshake_command(tmp_path: Path) -> None:
    brief = tmp_path / "brief.json"
    brief.write_text(json.dumps({"mission": "demo", "priority_map": {"crown_router": 1}}))
    command = [
        sys.executable,
        "-m",
        "razar.crown_handshake",
        str(brief),
        "--logs",
        str(tmp_path / "logs"),
        "--json",
    ]

    def run(url: str, *more: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"CROWN_WS_URL": url}
        return subprocess.run([*command, *more], env=environ, capture_output=True, text=True, timeout=30)

    with program("--capability", "kimi", "--downtime", "crown_router=release") as (url, _):
        done = run(url)
        shown = json.loads(done.stdout)
        assert (done.returncode, done.stderr, shown["status"], shown["url"]) == (0, "", "ack", url)
        assert shown["capabilities"] == ["kimi"] and "crown_router" in shown["downtime"]
    gone = run(url)
    assert (gone.returncode, json.loads(gone.stdout)["status"]) == (3, "unreachable")
    assert len(os.listdir(tmp_path / "logs" / "mission_briefs")) in {3, 4}


async def test_the_handshake_command_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = tmp_path / "brief.json"
    brief.write_text("{}")
    with program("--refuse", "drydock") as (url, _):
        environ = os.environ | {"CROWN_WS_URL": url}
        command = [sys.executable, "-m", "razar.crown_handshake", str(brief), "--logs", str(tmp_path)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (3, "refused: Crown refused the mission: drydock\n")


@pytest.mark.parametrize(
    ("url", "brief", "words"),
    [
        ("", "{}", "CROWN_WS_URL is not set"),
        ("ws://127.0.0.1:1", None, "No such file"),
        ("ws://127.0.0.1:1", "[1]", "the brief holds a list"),
        ("ws://127.0.0.1:1", "{", "the brief is not JSON"),
        ("ws://127.0.0.1:1", '{"mission": "../x"}', "mission"),
        ("ws://127.0.0.1:1", '{"priority_map": 3}', "priority_map"),
        ("ws://127.0.0.1:1", " " * (1 << 20) + "{}", "larger than"),
        ("ws://127.0.0.1:1", b"\xff", "not UTF-8"),
    ],
)
def test_the_handshake_command_used_badly(
    url: str,
    brief: str | bytes | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from razar.crown_handshake import main

    path = tmp_path / "brief.json"
    if brief is not None:
        path.write_bytes(brief if isinstance(brief, bytes) else brief.encode())
    monkeypatch.setenv("CROWN_WS_URL", url)
    with pytest.raises(SystemExit) as stopped:
        main([str(path), "--logs", str(tmp_path / "logs")])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    "arguments", [["--downtime", "router"], ["--downtime", "a=b@soon"], ["--port", "70000"]]
)
def test_the_crown_command_used_badly(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err


def test_downtime_on_the_command_line() -> None:
    items = ["a=new disk", "b=mail ops@example.org@1758412805", "c=@2025-09-21T00:00:05Z"]
    assert parse_downtime(items) == {
        "a": {"reason": "new disk"},
        "b": {"reason": "mail ops@example.org", "until": 1758412805.0},
        "c": {"reason": "", "until": "2025-09-21T00:00:05Z"},
    }


def test_the_models_that_are_configured() -> None:
    assert servant_names({}) == ()
    assert servant_names({"SERVANT_MODELS": " kimi = http://k , kimi=http://2,x=,\x1b=http://y"}) == ("kimi",)
