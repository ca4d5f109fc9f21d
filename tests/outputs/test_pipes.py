"""Every program can be read by one that stops reading, such as head."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.mission import REPOSITORY, Folder, environment

LOG = "[2025-09-21T00:00:00Z] ERROR a: ModuleNotFoundError: No module named 'yaml'\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("-m", "razar.issue_analyzer", "a.log"),
        ("-m", "razar.issue_analyzer", "--json", "a.log"),
        (str(REPOSITORY / "scripts" / "health_check_connectors.py"),),
        (str(REPOSITORY / "scripts" / "health_check_connectors.py"), "--json"),
        ("-m", "razar.boot_orchestrator", "--mission", "demo", "--check"),
        ("-m", "razar.boot_orchestrator", "--mission", "demo", "--plan"),
        ("-m", "razar", "boot", "--mission", "demo", "--plan", "--json"),
        ("-m", "razar", "plan"),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_left_is_no_traceback(tmp_path: Path, argv: tuple[str, ...]) -> None:
    Folder(tmp_path)
    (tmp_path / "a.log").write_text(LOG)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *argv],
            cwd=tmp_path,
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
