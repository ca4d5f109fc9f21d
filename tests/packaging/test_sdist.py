"""The source distribution holds all that is needed to build the wheel."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, run, tool

pytestmark = pytest.mark.timeout(900)


def test_the_sources_are_complete(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    held = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    for name in ("Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "pyproject.toml"):
        assert name in held
    for crate in (path.parent for path in ROOT.glob("neoabzu_crates/*/Cargo.toml")):
        sources = {path.relative_to(ROOT).as_posix() for path in (crate / "src").rglob("*") if path.is_file()}
        assert sources | {f"neoabzu_crates/{crate.name}/Cargo.toml"} <= held, crate.name
    assert not [
        name for name in held if name.startswith((".venv/", "target/", "logs/")) or "__pycache__" in name
    ]
    assert not [name for name in held if name.endswith(".so")]
    # Cargo accepts the workspace as it was unpacked, with the lock as it is.
    manifest = root / "neoabzu_crates" / "bindings" / "Cargo.toml"
    run(
        tool("cargo"), "metadata", "--quiet", "--locked", "--format-version", "1", "--manifest-path", manifest
    )
