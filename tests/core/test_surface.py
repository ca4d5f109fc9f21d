"""The package holds what its stub promises, and importing RAZAR does not need it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import neoabzu_core
import razar._native as native

STUB = Path(neoabzu_core.__file__).with_suffix(".pyi")


def test_the_stub_and_the_module_agree() -> None:
    tree = ast.parse(STUB.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    exported = set(neoabzu_core.__all__)
    assert names == exported
    assert exported == {name for name in vars(native.neoabzu_core) if not name.startswith("_")}
    assert list(neoabzu_core.__all__) == sorted(
        neoabzu_core.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )


def test_every_submodule_of_the_extension_can_be_imported() -> None:
    submodules = {name: value for name, value in vars(native).items() if isinstance(value, ModuleType)}
    assert "neoabzu_core" in submodules
    for name, value in submodules.items():
        assert sys.modules[f"razar._native.{name}"] is value
        __import__(f"razar._native.{name}")


def test_limits_cannot_be_changed() -> None:
    assert neoabzu_core.LIMITS["steps"] == 1_000_000
    try:
        neoabzu_core.LIMITS["steps"] = 1  # type: ignore[index]
    except TypeError:
        return
    raise AssertionError("LIMITS took a new value")


def test_importing_razar_does_not_import_the_extension() -> None:
    script = (
        "import sys, razar, razar.cli; print([m for m in sys.modules if '_native' in m or 'neoabzu' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
