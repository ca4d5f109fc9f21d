"""One wheel, one extension module, every package, and nothing else."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import PROFILE, ROOT, run, tool

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["maturin"]["python-packages"]
#: Folders of Python that are not part of the product.
ASIDE = {"benchmarks", "docs", "examples", "scripts", "tests"}

pytestmark = pytest.mark.timeout(900)


def test_every_package_of_the_project_is_listed() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
    product = {
        name for name in folders if not name.startswith(".") and name not in ASIDE | {"target", "build"}
    }
    assert sorted(product) == sorted(PACKAGES)


def test_the_wheel_holds_the_packages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names if not name.startswith("razar-")}
    assert folders == set(PACKAGES)
    assert [name for name in names if name.endswith(".so")] == ["razar/_native.abi3.so"]
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    for package in PACKAGES:
        inside = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*.py*")
            if path.suffix in (".py", ".pyi")
        }
        assert inside <= set(names), package
        if (ROOT / package / "py.typed").exists():
            assert f"{package}/py.typed" in names
    assert "-cp311-abi3-" in wheel.name
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_version_is_written_once() -> None:
    import razar

    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert PROJECT["project"]["version"] == razar.__version__ == cargo["workspace"]["package"]["version"]


def test_pip_installs_the_modules_and_the_command(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "venv", venv)
    runtime = ROOT / "requirements" / "runtime.txt"
    run(tool("uv"), "pip", "install", "-q", "--require-hashes", "-p", python, "-r", runtime)
    tool("cargo")
    settings = f"build-args=--profile {PROFILE}"
    run(
        python, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--config-settings", settings, ROOT
    )
    script = (
        "import sys, importlib, razar\n"
        f"for name in {PACKAGES!r}: importlib.import_module(name)\n"
        "import neoabzu_core\n"
        "assert neoabzu_core.evaluate_py('x + 1', {'x': 1}) == 2\n"
        "import razar._native as native\n"
        "for name in dir(native):\n"
        "    assert not name.startswith('neoabzu') or f'razar._native.{name}' in sys.modules, name\n"
        "print(razar.__file__)\n"
    )
    where = run(python, "-c", script, cwd=tmp_path).strip()
    assert where.startswith(str(venv)), "imported from the wheel, not from here"
    assert "usage: razar" in run(venv / "bin" / "razar", "--help", cwd=tmp_path)
    assert "usage: razar" in run(python, "-m", "razar", "--help", cwd=tmp_path)
