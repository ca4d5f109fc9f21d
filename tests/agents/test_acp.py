"""Agents that speak ACP: a real process for each, through the real package on both sides."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import pytest

from agents.razar.agent import Suggestion, Task
from agents.razar.errors import (
    AgentError,
    AgentTimeoutError,
    AnswerTooLargeError,
    AuthenticationError,
    BrokenConnectionError,
    ConfigurationError,
    ProposalRefusedError,
)
from agents.razar.patching.edits import by_path, new_text
from agents.razar.providers import acp as provider
from agents.razar.providers.acp import acp_agent
from razar.launchers import procfs
from tests.agents.tasks import task_in
from tests.support.waiting import until

pytest.importorskip("acp", reason="the package agent-client-protocol is not installed")

pytestmark = pytest.mark.usefixtures("scratch")
AGENT = Path(__file__).with_name("odd_acp_agent.py")
SECRET = "k-handed-on-0123456789"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return task_in(tmp_path / "mission")


async def ask(task: Task, behaviour: str, seconds: float = 30, **environ: str) -> Suggestion:
    command = f"{sys.executable} {AGENT} {behaviour}"
    variables = {"PATH": os.environ["PATH"], "RAZAR_ACP_COMMAND": command, **environ}
    return await acp_agent(variables).propose(task, seconds=seconds)


def after(task: Task, found: Suggestion) -> dict[str, str]:
    """The files as the proposal makes them."""
    texts = {}
    for path, edits in by_path(found.proposal.edits).items():
        file = Path(task.root, path)
        texts[path] = new_text(path, file.read_text() if file.exists() else None, edits)
    return texts


BEFORE = "import socket\n\nport = 1\nprint(port)\n"


async def test_an_edit_is_taken_down_and_declined(task: Task, scratch: Path) -> None:
    found = await ask(task, "edit")
    assert after(task, found) == {"src/server.py": BEFORE.replace("port = 1", "port = 2")}
    assert (found.proposal.root_cause, found.proposal.summary) == ("it is taken", "another port")
    assert found.tokens == 200 and found.requests == 2
    assert [sent.what for sent in found.sent] == ["file notes.md", "file src/server.py", "prompt", "prompt"]
    assert {sent.to for sent in found.sent} == {f"acp:{os.path.basename(sys.executable)}"}
    assert list(scratch.iterdir()) == [] and Path(task.root, "src/server.py").read_text() == BEFORE


@pytest.mark.parametrize(
    ("behaviour", "server"),
    [
        ("announced", BEFORE.replace("= 1", "= 2")),
        ("two", BEFORE.replace("= 1", "= 2").replace("print(port)", "print(port + 1)")),
        ("read", BEFORE.replace("= 1", "= 3")),
        ("snippet", BEFORE.replace("= 1", "= 2").replace("print(port)", "print(port, port)")),
        ("writes", BEFORE + "print('written')\n"),
        ("garbage", BEFORE.replace("= 1", "= 2")),
        ("wants", BEFORE.replace("= 1", "= 2")),
    ],
)
async def test_edits_are_put_together(
    behaviour: str, server: str, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    texts = after(task, await ask(task, behaviour))
    assert texts.pop("src/server.py") == server
    assert texts == ({"src/new.py": "fresh = 1\n"} if behaviour == "two" else {})
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("conflict", "edits the same lines of 'src/server.py' twice"),
        ("stranger", "begins with a text that the file does not hold"),
        ("outside", "outside the project"),
        ("prose", "no edit: only prose"),
        ("refusal", "does not want to"),
        ("max-tokens", "cut off"),
        ("turns", "still editing after 12 turns"),
    ],
)
async def test_what_is_no_whole_proposal_is_refused(behaviour: str, words: str, task: Task) -> None:
    with pytest.raises(ProposalRefusedError, match=words) as caught:
        await ask(task, behaviour)
    assert caught.value.requests >= 1 and len(caught.value.sent) >= 3


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ("login", AuthenticationError, "is not logged in.* run it once and log in"),
        ("die", BrokenConnectionError, "ended before it answered: no licence for you"),
        ("gone", BrokenConnectionError, "ended before it answered"),
        ("huge", AnswerTooLargeError, "a line has more than 16,777,216 bytes"),
        ("version", BrokenConnectionError, "speaks version 9 of ACP"),
    ],
)
async def test_an_agent_that_fails(behaviour: str, kind: type[AgentError], words: str, task: Task) -> None:
    with pytest.raises(AgentError, match=words) as caught:
        await ask(task, behaviour)
    assert type(caught.value) is kind


async def test_endless_updates_end_at_the_deadline(task: Task, scratch: Path) -> None:
    with pytest.raises(AgentTimeoutError, match="gave up after 6 s") as caught:
        await ask(task, "endless", seconds=6)
    # Noted whether or not its flood had begun by then.
    assert len(caught.value.sent) >= 2 and sleepers(scratch) == [] and list(scratch.iterdir()) == []


def sleepers(scratch: Path) -> list[int]:
    """Processes that work in our scratch folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(scratch)):
                stat = procfs.stat(int(entry.name))
                found += [int(entry.name)] if stat is not None and not stat.ended else []
        except OSError:
            continue
    return found


async def test_cancelling_leaves_nothing_of_a_silent_agent(task: Task, scratch: Path) -> None:
    asking = asyncio.create_task(ask(task, "silence", seconds=300))
    await until(lambda: list(scratch.glob("*/project/silent")))
    await until(lambda: len(sleepers(scratch)) >= 2)  # Itself and its company.
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert sleepers(scratch) == [] and list(scratch.iterdir()) == []


async def test_what_an_agent_is_given(task: Task) -> None:
    Path(task.root, ".env").write_text("TOKEN=abc\n")
    Path(task.root, "src/settings.py").write_text(f"api_key = '{SECRET}'\n")
    handed = {"RAZAR_AGENT_ENV": "MODEL_KEY, UNSET_ONE", "MODEL_KEY": "m-key-0123456789", "OTHER_KEY": SECRET}
    with pytest.raises(ProposalRefusedError, match="repeats our own key"):
        await ask(task, "tell", **handed)
    traced = task_in(Path(task.root), traceparent="00-aa-bb-01")
    found = await ask(traced, "tell", **(handed | {"MODEL_KEY": "short"}), LC_ALL="C.UTF-8")
    [told] = after(task, found).values()
    lines = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    assert (
        lines["TRACEPARENT"] == "00-aa-bb-01"
        and lines["MODEL_KEY"] == "short"
        and lines["LC_ALL"] == "C.UTF-8"
    )
    assert "OTHER_KEY" not in lines and SECRET not in told and "RAZAR_ACP_COMMAND" not in lines
    assert lines["HOME"].endswith("/home") and lines["HOME"] != os.environ.get("HOME")
    assert "settings.py" in told and ".env" not in told and "razar.log" not in told
    masked = {sent.what: sent.masked for sent in found.sent}
    assert masked["file src/settings.py"] == 1 and masked["file src/server.py"] == 0


async def test_a_home_that_it_keeps(task: Task, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    [told] = after(task, await ask(task, "tell", RAZAR_ACP_HOME=str(home))).values()
    assert f"HOME={home}\n" in told and f"XDG_CONFIG_HOME={home}/.config\n" in told
    with pytest.raises(ConfigurationError, match="RAZAR_ACP_HOME: found 'home', expected the absolute path"):
        acp_agent({"RAZAR_ACP_COMMAND": "a", "RAZAR_ACP_HOME": "home"})


@pytest.mark.parametrize(
    ("command", "words"),
    [("", "is not set"), ("agent 'open", "a quote that is not closed")],
)
def test_a_command_that_is_none(command: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        acp_agent({"RAZAR_ACP_COMMAND": command})


async def test_a_program_that_is_not_there(task: Task) -> None:
    agent = acp_agent({"RAZAR_ACP_COMMAND": "no-such-agent acp", "PATH": os.environ["PATH"]})
    with pytest.raises(ConfigurationError, match="no such program on PATH"):
        await agent.propose(task, seconds=10)


async def test_without_the_package_it_says_how_to_get_it(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "installed", lambda: False)
    with pytest.raises(ConfigurationError, match=r'pip install "razar\[acp\]"'):
        await ask(task, "edit")


def test_a_name_of_a_variable_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match="RAZAR_AGENT_ENV: expected names"):
        acp_agent({"RAZAR_ACP_COMMAND": "a", "RAZAR_AGENT_ENV": "A=b"})
