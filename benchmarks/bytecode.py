"""Compiles our packages before anything is measured: else the first run after an edit measures the compiler.

With PYTHONDONTWRITEBYTECODE set, as on many machines that build and test, every run would.
"""

from __future__ import annotations

from compileall import compile_dir
from pathlib import Path

__all__ = ["compile_packages"]

_TREE = Path(__file__).parent.parent
_PACKAGES = ("razar", "agents", "memory", "neoabzu_*", "benchmarks")


def compile_packages() -> None:
    """Bring the bytecode of all packages of this tree up to date; quick where it is."""
    for pattern in _PACKAGES:
        for folder in _TREE.glob(pattern):
            compile_dir(folder, quiet=2)  # Of neoabzu_crates nothing: no Python is in it.
