"""The copy in which a patch is tried: the source, and nothing private."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.razar.patching import scratch
from agents.razar.patching.policy import Change
from agents.razar.patching.refusal import Refusal


def names(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    }


def test_what_is_private_or_not_source_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kept = ["app.py", "src/inner/b.py", "src/data.json", ".config"]
    left = [
        ".git/config", ".env", ".env.local", "src/.env", ".opencode/plugin/x.js", "opencode.json", "opencode.jsonc",
        "AGENTS.md", "src/__pycache__/b.pyc", "id_rsa", "server.key", "server.pem", ".ssh/config", ".aws/credentials",
        ".netrc", ".venv/pyvenv.cfg", ".venv/bin/python", ".razar/environments/x", "node_modules/m/index.js",
        "logs/boot.log", "odd/.git/hooks/x",
    ]  # fmt: skip
    for name in kept + left:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    scratch.export(str(root), str(tmp_path / "copy"), leave_out=[str(root / "logs")])
    assert names(tmp_path / "copy") == set(kept)
    assert list(scratch.left_in_place(str(root))) == [".razar", ".venv", "node_modules"]


def test_links_that_lead_out_and_special_files_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("a")
    (root / "near").symlink_to("a")
    (root / "far").symlink_to(root / "a")
    (root / "up").symlink_to("../secret")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    scratch.export(str(root), str(tmp_path / "copy"))
    assert names(tmp_path / "copy") == {"a", "near", "loop"}


def test_the_copy_shares_nothing_with_the_tree(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("a")
    (root / "a").chmod(0o555)
    scratch.export(str(root), str(tmp_path / "copy"))
    copy = tmp_path / "copy" / "a"
    assert copy.stat().st_ino != (root / "a").stat().st_ino
    assert copy.stat().st_mode & 0o777 == 0o755
    copy.write_text("b")
    assert (root / "a").read_text() == "a"


def test_a_copy_inside_the_tree_does_not_copy_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    scratch.export(str(tmp_path), str(tmp_path / "copy"))
    assert names(tmp_path / "copy") == {"a"}


def test_a_tree_that_is_too_large_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(5):
        (root / str(number)).write_bytes(bytes(1000))
    with pytest.raises(Refusal, match="more than 4 files") as caught:
        scratch.export(str(root), str(tmp_path / "one"), limits=scratch.Limits(files=4))
    assert caught.value.passing
    with pytest.raises(Refusal, match="more than 0 MiB"):
        scratch.export(str(root), str(tmp_path / "two"), limits=scratch.Limits(total_bytes=4000))


def test_a_patch_is_laid_over_the_copy_and_changes_in_it_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    changes = (
        Change(path="a", before=b"a", after=b"A", mode=0o644),
        Change(path="b", before=None, after=b"B", mode=0o644),
    )
    scratch.lay(str(tmp_path), changes)
    assert (tmp_path / "a").read_text() + (tmp_path / "b").read_text() == "AB"
    assert scratch.altered(str(tmp_path), changes) == []
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").unlink()
    assert scratch.altered(str(tmp_path), changes) == ["a", "b"]


def test_a_file_that_is_never_copied_cannot_be_tried(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="never copied"):
        scratch.lay(str(tmp_path), [Change(path="server.key", before=b"a", after=b"A", mode=0o600)])


def test_a_copy_is_removed_whatever_its_modes_are(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "inner").mkdir(parents=True)
    (copy / "inner" / "a").write_text("a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_text("b")
    (copy / "link").symlink_to(tmp_path / "outside")
    (copy / "inner").chmod(0)
    scratch.remove(str(copy))
    assert not copy.exists() and (tmp_path / "outside" / "b").exists()
