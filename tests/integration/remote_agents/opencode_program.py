"""The real opencode for the tests: one binary of its npm package, installed once into the user's cache."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["VERSION", "missing", "program"]

PACKAGE = "opencode-linux-x64"
VERSION = "1.18.33"


def missing() -> str | None:
    """Why it cannot be had here, in words, or None."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return f"the tests of opencode use the npm package {PACKAGE}, which is not for this machine"
    if not _binary(_cache()).is_file() and shutil.which("npm") is None:
        return f"the tests of opencode use the npm package {PACKAGE}: npm not found"
    return None


def program() -> Path:
    """The binary, installed (185 MB) unless it is there. Raises OSError, subprocess.SubprocessError."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _binary(cache).is_file():
            (cache / "package.json").write_text('{"private": true}\n')
            install = [
                "npm",
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--ignore-scripts",
            ]
            subprocess.run(
                [*install, f"{PACKAGE}@{VERSION}"], cwd=cache, check=True, capture_output=True, timeout=300
            )
    return _binary(cache)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "razar-tests" / f"opencode-{VERSION}"


def _binary(cache: Path) -> Path:
    return cache / "node_modules" / PACKAGE / "bin" / "opencode"
