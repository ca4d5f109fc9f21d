"""What `make` says on a machine that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("make", "sh", "awk", "sed", "env", "find", "touch", "mkdir", "test", "cc", "python3")


def machine(folder: Path, *without: str) -> dict[str, str]:
    """An environment whose PATH has the usual tools but those in `without`."""
    programs = folder / "bin"
    programs.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is not None and name not in without:
            (programs / name).symlink_to(found)
    if "cargo" not in without:
        program(programs / "cargo", "echo 'cargo 1.999.0'")
    return {"PATH": str(programs), "HOME": str(folder), "LANG": "C.UTF-8"}


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def make(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("make")
    if found is None:
        pytest.skip("make is not installed")
    command = [found, "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("target", "missing", "advice"),
    [
        ("check-rust", "cargo", "rustup.rs"),
        ("check-rust", "cc", "apt-get install build-essential"),
        ("check-python", "python3", "apt-get install python3 python3-venv"),
    ],
)
def test_a_missing_tool_is_named_with_how_to_get_it(
    tmp_path: Path, target: str, missing: str, advice: str
) -> None:
    done = make(machine(tmp_path, missing), target)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"{missing}" in said and "is missing" in said and advice in said


def test_an_old_python_is_named_with_how_to_choose_another(tmp_path: Path) -> None:
    environment = machine(tmp_path, "python3")
    program(tmp_path / "bin" / "python3", 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    done = make(environment, "check-python")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Python 3.9.2 is too old" in said and "PYTHON=python3.12" in said


def test_a_python_without_venv_is_told_apart(tmp_path: Path) -> None:
    environment = machine(tmp_path, "python3")
    program(tmp_path / "bin" / "python3", 'case "$*" in *ensurepip*) exit 1;; esac')
    done = make(environment, "check-python")
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout + done.stderr


def test_make_alone_lists_the_targets(tmp_path: Path) -> None:
    done = make(machine(tmp_path))
    assert done.returncode == 0
    for target in ("demo", "test", "lint", "lock", "bench", "clean"):
        assert f"make {target} " in done.stdout


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("cargo 1.63.0", False),
        ("cargo 1.87.3 (abc 2025-01-01)", False),
        ("cargo 2.0.0", True),
        ("cargo 1.95.0-nightly (x)", True),
    ],
)
def test_an_old_cargo_is_named_with_the_version_that_is_needed(
    tmp_path: Path, version: str, enough: bool
) -> None:
    environment = machine(tmp_path, "cargo")
    program(tmp_path / "bin" / "cargo", f"echo '{version}'")
    done = make(environment, "check-rust")
    assert (done.returncode == 0) is enough, done.stdout + done.stderr
    if not enough:
        needed = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        assert f"{version} is too old. Get Rust {needed} or newer" in done.stdout


def test_continuous_integration_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], stdin=subprocess.DEVNULL, timeout=10).returncode == 0
