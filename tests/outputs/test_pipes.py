"""Every program can be read by one that stops reading, such as head, and written to a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.mission import REPOSITORY, Folder, environment

LOG = "[2025-09-21T00:00:00Z] ERROR a: ModuleNotFoundError: No module named 'yaml'\n"
PROGRAMS = pytest.mark.parametrize(
    "argv",
    [
        ("-m", "razar.issue_analyzer", "a.log"),
        ("-m", "razar.issue_analyzer", "--json", "a.log"),
        ("-m", "razar.issue_analyzer", "--help"),
        (str(REPOSITORY / "scripts" / "health_check_connectors.py"),),
        (str(REPOSITORY / "scripts" / "health_check_connectors.py"), "--json"),
        ("-m", "razar.boot_orchestrator", "--mission", "demo", "--check"),
        ("-m", "razar.boot_orchestrator", "--mission", "demo", "--plan"),
        ("-m", "razar.boot_orchestrator", "--mission", "none", "--check", "--json"),
        ("-m", "razar.boot_orchestrator", "--help"),
        ("-m", "razar", "boot", "--mission", "demo", "--plan", "--json"),
        ("-m", "razar", "plan"),
        ("-m", "razar", "--help"),
        ("-m", "razar.mission_logger", "--help"),
        ("-m", "razar.crown_handshake", "--help"),
        ("-m", "neoabzu_crown", "--help"),
        ("-m", "neoabzu_crown"),
    ],
    ids=" ".join,
)


def run(folder: Path, argv: tuple[str, ...], stdout: int) -> subprocess.CompletedProcess[str]:
    """Run a program with this output, in the folder of a mission."""
    Folder(folder)
    (folder / "a.log").write_text(LOG)
    return subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )


@PROGRAMS
def test_a_reader_that_has_left_is_no_traceback(tmp_path: Path, argv: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(tmp_path, argv, writer)
    finally:
        os.close(writer)
    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@PROGRAMS
def test_an_output_that_is_full_is_told_in_a_line(tmp_path: Path, argv: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = run(tmp_path, argv, full.fileno())
    assert done.returncode == 1, done.stderr
    assert "cannot write the output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
