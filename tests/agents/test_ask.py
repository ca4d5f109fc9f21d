"""Asking an agent by hand, as an operator does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.agents.server import answering, http, serving
from tests.agents.tasks import completion, task_in

ROOT = Path(__file__).parents[2]
OURS = ("KIMI2_", "AIRSTAR_", "RSTAR_", "OPENCODE_", "RAZAR_")
SECRET = "s-ask-0123456789abcdef"


def ask(*arguments: str, **environ: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    done = subprocess.run(
        [sys.executable, "-m", "agents.razar.ask", *arguments],
        cwd=ROOT, env=kept | environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_it_shows_a_diff_and_changes_nothing(tmp_path: Path) -> None:
    task_in(tmp_path)
    before = (tmp_path / "src/server.py").read_text()
    asked = ("--root", str(tmp_path), "--error", f"the port is taken, password={SECRET}", "src/server.py")
    with serving(answering(http(completion()))) as server:
        code, out, err = ask(*asked, KIMI2_ENDPOINT=server.url("/v1"))
        [request] = server.requests
    assert code == 0 and "-port = 1\n+port = 2\n" in out and "tokens: 30" in out, err
    assert "could leave this machine" in err and "file src/server.py (" in err
    assert (tmp_path / "src/server.py").read_text() == before
    assert SECRET.encode() not in request.body and b"the port is taken" in request.body
    with serving(answering(http({"error": {"message": "x"}}, 401))) as server:
        code, out, err = ask(*asked, KIMI2_ENDPOINT=server.url("/v1"))
    assert code == 1 and out == "" and "does not accept the key (HTTP 401)" in err


def test_nobody_to_ask(tmp_path: Path) -> None:
    task_in(tmp_path)
    asked = ("--root", str(tmp_path), "--error", "x")
    assert ask(*asked, "src/server.py")[::2] == (2, "no agent is configured; see docs/agents.md\n")
    code, _, err = ask(*asked, "--agent", "airstar", "src/server.py")
    assert code == 2 and "AIRSTAR_ENDPOINT is not set" in err
    code, _, err = ask(*asked, "src/nothing.py", RSTAR_ENDPOINT="http://localhost:1")
    assert code == 2 and "src/nothing.py: expected a text file" in err
