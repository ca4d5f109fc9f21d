"""Which agents the environment and a ladder make, and what is said about those they do not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agents.razar.roster import configured, roster
from razar.config.model import RepairSettings

ALL = {
    "OPENCODE_BIN": "opencode",
    "RAZAR_ACP_COMMAND": "kimi acp",
    "KIMI2_ENDPOINT": "http://localhost:1/v1",
    "AIRSTAR_ENDPOINT": "http://localhost:2/v1",
    "RSTAR_ENDPOINT": "http://localhost:3/v1",
}


def names(environ: dict[str, str], ladder: tuple[str, ...] | None = None) -> list[str]:
    return [agent.name for agent in configured(environ, ladder)]


def test_the_first_that_is_configured_then_airstar_then_rstar() -> None:
    assert names({}) == []
    assert names(ALL) == ["opencode", "airstar", "rstar"]
    without = {name: value for name, value in ALL.items() if name != "OPENCODE_BIN"}
    assert names(without) == ["acp", "airstar", "rstar"]
    assert names({**without, "RAZAR_ACP_COMMAND": " "}) == ["kimi2", "airstar", "rstar"]
    assert names({"RSTAR_ENDPOINT": "http://localhost:3"}) == ["rstar"]
    assert names({**without, "OPENCODE_BACKEND": "kimi"})[0] == "opencode"


def test_a_ladder_decides_alone_and_the_mission_has_one_too() -> None:
    assert names(ALL, ("memory", "rstar", "kimi2", "rstar")) == ["rstar", "kimi2"]
    settings = RepairSettings(ladder=("airstar", "acp"))
    assert [agent.name for agent in configured(ALL, None, settings)] == ["airstar", "acp"]
    assert [agent.name for agent in configured(ALL, ("kimi2",), settings)] == ["kimi2"]
    assert names(ALL, ()) == []


@pytest.mark.parametrize(
    ("environ", "rung", "words"),
    [
        ({}, "kimi2", "the agent kimi2 is not configured: KIMI2_ENDPOINT is not set"),
        ({}, "acp", "RAZAR_ACP_COMMAND is not set"),
        ({"PATH": "/nowhere"}, "opencode", "OPENCODE_BIN is not set"),
        ({}, "kimi", 'no agent is called "kimi"; did you mean "kimi2"?'),
        ({}, "gpt", "known are memory, opencode, acp, kimi2, airstar, rstar"),
        (
            {"AIRSTAR_ENDPOINT": "ftp://u:p4ssw0rd@h"},
            "airstar",
            "AIRSTAR_ENDPOINT is no URL that can be used",
        ),
        ({"KIMI2_ENDPOINT": "http://h", "KIMI2_API_KEY": "a\nb"}, "kimi2", "KIMI2_API_KEY holds a character"),
        ({"RAZAR_ACP_COMMAND": "'"}, "acp", "RAZAR_ACP_COMMAND: found a quote that is not closed"),
        ({"OPENCODE_BACKEND": "gpt"}, "opencode", "OPENCODE_BACKEND: found 'gpt'"),
    ],
)
def test_only_the_rung_with_a_problem_is_left_out(environ: dict[str, str], rung: str, words: str) -> None:
    found = roster({**environ, "RSTAR_ENDPOINT": ALL["RSTAR_ENDPOINT"]}, (rung, "rstar"))
    assert [agent.name for agent in found.agents] == ["rstar"]
    [problem] = found.problems
    assert words in str(problem) and "p4ssw0rd" not in str(problem) and problem.next_step == "operator"


def test_a_ladder_may_name_an_opencode_that_is_on_path(tmp_path: Path) -> None:
    program = tmp_path / "opencode"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert names({"PATH": str(tmp_path), "HOME": str(tmp_path)}, ("opencode",)) == ["opencode"]


def test_endpoints_say_whom_they_bother_and_hold_no_credentials() -> None:
    environ = {
        **ALL,
        "KIMI2_ENDPOINT": "http://user:p4ssw0rd@localhost:1/v1?key=k1",
        "OPENCODE_BACKEND": "kimi",
    }
    found = {agent.name: agent for agent in configured(environ, ("opencode", "acp", "kimi2", "rstar"))}
    assert found["opencode"].endpoint == found["kimi2"].endpoint == "http://localhost:1/v1"
    assert (
        found["acp"].endpoint == "acp:kimi" and found["rstar"].endpoint == "http://localhost:3/v1/completions"
    )
    assert "p4ssw0rd" not in repr(found) and "k1" not in repr(found)


def test_making_them_imports_nothing_heavy() -> None:
    program = (
        "import sys; from agents.razar.roster import configured; "
        "print(len(configured({}, None)), "
        "[name for name in ('acp', 'pydantic', 'ssl', 'http.client', 'sqlite3', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
        timeout=30,
    )
    assert done.stdout == "0 []\n"
