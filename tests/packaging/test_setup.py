"""What `make` says on a machine that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("make", "sh", "awk", "env", "find", "touch", "mkdir", "test", "cc", "cargo", "python3")


def machine(folder: Path, *without: str) -> dict[str, str]:
    """An environment whose PATH has the usual tools but those in `without`."""
    programs = folder / "bin"
    programs.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is not None and name not in without:
            (programs / name).symlink_to(found)
    return {"PATH": str(programs), "HOME": str(folder), "LANG": "C.UTF-8"}


def make(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    if program is None:
        pytest.skip("make is not installed")
    command = [program, "--no-print-directory", *arguments]
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
    old = tmp_path / "bin" / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make(environment, "check-python")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Python 3.9.2 is too old" in said and "PYTHON=python3.12" in said


def test_a_python_without_venv_is_told_apart(tmp_path: Path) -> None:
    environment = machine(tmp_path, "python3")
    bare = tmp_path / "bin" / "python3"
    bare.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexit 0\n')
    bare.chmod(0o755)
    done = make(environment, "check-python")
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout + done.stderr


def test_make_alone_lists_the_targets(tmp_path: Path) -> None:
    done = make(machine(tmp_path))
    assert done.returncode == 0
    for target in ("demo", "test", "lint", "lock", "bench", "clean"):
        assert f"make {target} " in done.stdout


def test_the_version_of_rust_asked_for_is_that_of_the_workspace() -> None:
    import tomllib

    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert f"Rust {version}" in (ROOT / "Makefile").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
