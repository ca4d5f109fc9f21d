"""Environments: what an unchanged layer costs, and a build beside ``python -m venv`` with pip.

The layer has three real dependencies, so the first build needs a package index. Run it with::

    python -m benchmarks.environments [--runs 3] [--json] [DEPENDENCY ...]

Builds with RAZAR resolve, write hashes, install, compile bytecode and read every file; pip
resolves, installs and compiles bytecode. Cold: an empty cache. Warm: everything fetched before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bytecode import compile_packages
from razar.config.model import EnvironmentSpec
from razar.environment_builder import EnvironmentFailure, LayerEnvironment, check, prepare
from razar.environments.stamp import read_stamp

DEPENDENCIES = ("starlette", "uvicorn", "jinja2")


def build(
    root: Path, dependencies: tuple[str, ...], cache: Path, *, offline: bool = False
) -> LayerEnvironment:
    """Prepare one layer; stop the benchmark if that fails."""
    environ = {**os.environ, "UV_CACHE_DIR": str(cache)}
    [result] = asyncio.run(
        prepare(
            [asked(dependencies)], root=str(root), log=str(root / "log"), environ=environ, offline=offline
        )
    )
    if isinstance(result, EnvironmentFailure):
        sys.exit(result.message)
    return result


def pip(folder: Path, dependencies: tuple[str, ...], cache: Path) -> None:
    """Do the same with the standard tools."""
    environ = {**os.environ, "PIP_CACHE_DIR": str(cache), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *dependencies]
    subprocess.run(command, check=True, env=environ)


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def asked(dependencies: tuple[str, ...]) -> EnvironmentSpec:
    """Return the layer for the Python that runs the benchmark."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return EnvironmentSpec(layer="web", python=python, dependencies=dependencies)


def measure(
    dependencies: tuple[str, ...], root: Path, note: Callable[[str, Callable[[], object]], None]
) -> None:
    """Measure every case once, with caches of its own beside ``root``."""
    root.mkdir()
    spec = asked(dependencies)
    cache, pip_cache = root.with_name("uv-cache"), root.with_name("pip-cache")
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(pip_cache, ignore_errors=True)
    note("build, cold", lambda: build(root, dependencies, cache))
    note("venv + pip, cold", lambda: pip(root / "pip-cold", dependencies, pip_cache))
    shutil.rmtree(root / ".razar")
    note("build from the lock, warm", lambda: build(root, dependencies, cache))
    shutil.rmtree(root / ".razar")
    note("build from the lock, warm, --offline", lambda: build(root, dependencies, cache, offline=True))
    shutil.rmtree(root / ".razar")
    shutil.rmtree(root / "razar_env.lock")
    note("build, warm", lambda: build(root, dependencies, cache))
    note("venv + pip, warm", lambda: pip(root / "pip-warm", dependencies, pip_cache))
    for _ in range(20):
        note("unchanged", lambda: check([spec], root=str(root)))
        note("unchanged, every file read", lambda: check([spec], root=str(root), verify=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What environments cost.")
    parser.add_argument("dependencies", nargs="*", default=list(DEPENDENCIES), metavar="DEPENDENCY")
    parser.add_argument("--runs", type=int, default=3, help="builds per case (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    compile_packages()
    dependencies = tuple(options.dependencies)
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[float]] = {}
        for run in range(max(1, options.runs)):
            root = Path(folder, f"mission-{run}")
            measure(
                dependencies, root, lambda case, action: found.setdefault(case, []).append(seconds(action))
            )
        last = build(root, dependencies, root.with_name("uv-cache"))
        stamp = read_stamp(last.folder)
        files = sum(len(part.names) for part in stamp.folders) if stamp else 0
    about = {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "dependencies": list(dependencies),
        "files": files,
    }
    if options.json:
        print(json.dumps({**about, "seconds": found}, indent=2))
        return
    print(
        f"{', '.join(dependencies)}: {files} files; Python {about['python']}, {os.cpu_count()} processors\n"
    )
    print("| case | ms, median (min–max) | runs |\n|---|---|---|")
    for case, values in found.items():
        low, middle, high = (1e3 * value for value in (min(values), statistics.median(values), max(values)))
        print(f"| {case} | {middle:.4g} ({low:.4g}–{high:.4g}) | {len(values)} |")


if __name__ == "__main__":
    main()
