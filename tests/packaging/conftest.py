"""The wheel and the source distribution, built once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: The profile that `make` builds with: what it has compiled is used again.
PROFILE = "fast"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command; its standard output, or a failure that shows all it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target"), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def tool(name: str) -> str:
    """A program of this environment, or of the machine."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `maturin build` makes it."""
    tool("cargo")
    out = tmp_path_factory.mktemp("wheel")
    run(
        tool("maturin"),
        "build",
        "--quiet",
        "--profile",
        PROFILE,
        "--locked",
        "--out",
        out,
        "-i",
        sys.executable,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    tool("cargo")
    out = tmp_path_factory.mktemp("sdist")
    run(tool("maturin"), "sdist", "--out", out)
    (built,) = out.glob("*.tar.gz")
    return built
