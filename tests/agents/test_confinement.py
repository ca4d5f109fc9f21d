"""Programs that repair are shut in: real agents try to get out, and to outlive who started them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.razar.agent import Task
from agents.razar.errors import ConfigurationError
from agents.razar.local.confinement import confined, usable
from agents.razar.local.workspace import workspace
from agents.razar.providers.acp import acp_agent
from tests.agents.tasks import task_in
from tests.agents.test_acp import AGENT, after, ask, sleepers
from tests.support.waiting import until_sync

pytest.importorskip("acp", reason="the package agent-client-protocol is not installed")

pytestmark = pytest.mark.usefixtures("scratch")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    if not asyncio.run(usable()):
        pytest.skip("bubblewrap is not installed, or may not make namespaces here")
    return task_in(tmp_path / "mission")


def pry(task: Task, *paths: Path, **environ: str) -> dict[str, str]:
    """What an agent finds at the paths."""
    Path(task.root, "pry.txt").write_text("\n".join(map(str, paths)))
    found = asyncio.run(ask(task, "pry", 30, **environ))
    told: dict[str, str] = json.loads(after(task, found)["src/told.txt"])
    return told


def test_neither_the_mission_nor_what_is_private_can_be_reached(task: Task, tmp_path: Path) -> None:
    root = Path(task.root)
    (root / ".env").write_text("TOKEN=abc\n")
    private = tmp_path / "notes.txt"
    private.write_text("of the operator\n")
    paths = [root / "src/server.py", root / ".env", root / "logs/razar.log", private, Path("/etc/shadow")]
    before = [path.read_text() for path in paths[1:4]]
    found = pry(task, *paths)
    for path in paths[:4]:
        assert found[f"r {path}"] == "FileNotFoundError", path
    assert found["r /etc/shadow"] in ("", "PermissionError")
    # Beside its workspace it may write, but into a folder of its own, which is gone with it.
    assert [path.read_text() for path in paths[1:4]] == before


def test_the_system_can_be_read_and_not_written(task: Task) -> None:
    found = pry(task, Path("/etc/passwd"), AGENT)
    assert found["r /etc/passwd"].startswith("root:") and found[f"r {AGENT}"].startswith('"""An agent')
    assert found["a /etc/passwd"] in ("OSError", "PermissionError")
    assert found[f"a {AGENT}"] in ("OSError", "PermissionError")


def test_other_processes_are_not_there(task: Task) -> None:
    found = pry(task, Path(f"/proc/{os.getpid()}/environ"))
    assert int(found["pid"]) < 10
    assert "FileNotFoundError" in found.values()


def test_what_the_operator_lends_can_be_used(task: Task, tmp_path: Path) -> None:
    home, further = tmp_path / "home", tmp_path / "further"
    for folder in (home, further):
        folder.mkdir()
        (folder / "file").write_text("here\n")
    found = pry(
        task, home / "file", further / "file", RAZAR_ACP_HOME=str(home), RAZAR_AGENT_PATHS=str(further)
    )
    assert found[f"r {home}/file"] == found[f"r {further}/file"] == "here\n"
    assert found[f"a {home}/file"] == "open" and found[f"a {further}/file"] == "OSError"


def test_paths_that_do_not_exist_are_a_fault(tmp_path: Path) -> None:
    environ = {"RAZAR_ACP_COMMAND": "true", "RAZAR_AGENT_PATHS": f"/usr:{tmp_path}/nothing"}
    with pytest.raises(ConfigurationError, match="nothing', expected absolute paths that exist"):
        acp_agent(environ)


def test_an_agent_does_not_outlive_a_supervisor_that_is_killed(task: Task, scratch: Path) -> None:
    program = (
        "import asyncio, sys, tempfile\n"
        "from pathlib import Path\n"
        "from tests.agents.tasks import task_in\n"
        "from tests.agents.test_acp import ask\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "asyncio.run(ask(task_in(Path(sys.argv[2])), 'silence', seconds=300))\n"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", program, str(scratch), task.root],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        until_sync(lambda: list(scratch.glob("*/project/silent")), timeout=30)
        assert len(sleepers(scratch)) >= 2
    finally:
        asking.send_signal(signal.SIGKILL)
        asking.wait()
    until_sync(lambda: sleepers(scratch) == [])


async def test_without_bubblewrap_the_command_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with workspace(task_in(tmp_path / "mission"), to="nobody") as place:
        assert await confined((sys.executable, "x"), {}, place) == (sys.executable, "x")
    assert not await usable()


async def test_a_trial_that_was_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n[ -e {tmp_path}/tried ] && exit 0\n: >{tmp_path}/tried\nkill -KILL $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [await usable(), await usable()] == [False, True]
