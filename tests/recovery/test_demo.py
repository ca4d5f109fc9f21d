"""The repair demo does what the README says, on the terminal and in the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_repair_demo_shows_failure_diff_test_relaunch_and_health(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KIMI2_", "RAZAR_"))}
    before = (ROOT / "examples/repair/router/routes.py").read_bytes()
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/repair/run.py"), "--exit-after-boot"],
        cwd=tmp_path,
        env={**kept, "RAZAR_METRICS_PORT": "0", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done
    shown = done.stdout + done.stderr
    for words in (
        "the agent's answer is a recording",
        "ERROR Health check failed for crown_router",
        "KeyError: 'chat'",
        '| +        kind, url = pair.split("=", 1)',
        "1 test passed",
        "is in place, on trial",
        "held; it is kept",
    ):
        assert words in shown, (words, shown)
    lines = done.stdout.splitlines()
    assert lines.index("Health check passed for crown_router") < lines.index("Mission repair complete")
    assert (ROOT / "examples/repair/router/routes.py").read_bytes() == before
