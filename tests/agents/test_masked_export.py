"""The masked copy of a mission: what is in it, what is not, and what is taken back from it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from agents.razar.errors import ConfigurationError, ProposalRefusedError
from agents.razar.local.masked_export import FILE_LIMIT, MaskedExport, edits_of, export_masked, harvest
from agents.razar.patching.edits import by_path, new_text
from razar.utils.redaction import Redactor

SECRETS = [
    f"planted-secret-{number:02d}-{hashlib.sha256(bytes([number])).hexdigest()[:12]}" for number in range(50)
]


@pytest.fixture
def mission(tmp_path: Path) -> Path:
    root = tmp_path / "mission"
    (root / "src" / "deep").mkdir(parents=True)
    for number, secret in enumerate(SECRETS):
        (root / "src" / "deep" / f"m{number}.py").write_text(f"first = 1\nvalue = '{secret}'\nlast = 1\n")
    (root / "src" / "plain.py").write_text("a = 1\r\nb = 2\r\n")
    (root / "image.bin").write_bytes(b"\x89PNG\0\1")
    (root / "latin.txt").write_bytes(b"caf\xe9\n")
    (root / "large.txt").write_text("x" * (FILE_LIMIT + 1))
    (root / ".env").write_text("A=b\n")
    (root / "link.py").symlink_to("image.bin")
    (root / ".opencode" / "plugin").mkdir(parents=True)
    (root / ".opencode" / "plugin" / "x.js").write_text("evil\n")
    (root / "logs").mkdir()
    (root / "logs" / "razar.log").write_text(SECRETS[0])
    return root


@pytest.fixture
def copy(mission: Path, tmp_path: Path) -> MaskedExport:
    redactor = Redactor({f"S{number}_TOKEN": secret for number, secret in enumerate(SECRETS)})
    return export_masked(
        str(mission),
        str(tmp_path / "copy"),
        to="somebody",
        leave_out=[str(mission / "logs")],
        redactor=redactor,
    )


def test_fifty_secrets_are_in_none_of_its_files(copy: MaskedExport) -> None:
    texts = {path: path.read_bytes() for path in Path(copy.folder).rglob("*") if path.is_file()}
    everything = b"".join(texts.values())
    assert not any(secret.encode() in everything for secret in SECRETS)
    assert {str(path.relative_to(copy.folder)) for path in texts} == set(copy.files)
    assert set(copy.files) == {"src/plain.py", *(f"src/deep/m{number}.py" for number in range(50))}
    for sent in copy.sent:
        data = Path(copy.folder, sent.what.removeprefix("file ")).read_bytes()
        assert (sent.to, sent.size, sent.sha256) == ("somebody", len(data), hashlib.sha256(data).hexdigest())
        assert sent.masked == (0 if sent.what == "file src/plain.py" else 1)


def test_what_was_changed_becomes_edits_of_the_real_files(copy: MaskedExport, mission: Path) -> None:
    folder = Path(copy.folder)
    first = folder / "src/deep/m0.py"
    first.write_text(first.read_text().replace("last = 1", "last = 2"))
    (folder / "src/plain.py").write_text("a = 1\nb = 3\n")
    (folder / "src/new.py").write_text("new = 1\n")
    (folder / "src/__pycache__").mkdir()
    (folder / "src/__pycache__/x.pyc").write_bytes(b"\0")
    edits = edits_of(copy, harvest(copy))
    texts = {}
    for path, group in by_path(edits).items():
        file = mission / path
        texts[path] = new_text(path, file.read_bytes().decode() if file.exists() else None, group)
    assert texts == {
        "src/deep/m0.py": f"first = 1\nvalue = '{SECRETS[0]}'\nlast = 2\n",
        "src/new.py": "new = 1\n",
        "src/plain.py": "a = 1\r\nb = 3\r\n",
    }
    assert not any(secret in text for secret in SECRETS for edit in edits for text in edit.texts)


def test_a_change_of_times_and_modes_is_none(copy: MaskedExport) -> None:
    file = Path(copy.folder, "src/plain.py")
    file.chmod(0o700)
    os.utime(file, (1, 1))
    assert harvest(copy) == {}


@pytest.mark.parametrize("path", ["image.bin", "large.txt", "latin.txt"])
def test_a_file_it_was_not_shown_cannot_be_written(path: str, copy: MaskedExport) -> None:
    Path(copy.folder, path).write_text("mine\n")
    with pytest.raises(ProposalRefusedError, match="which it was not shown"):
        edits_of(copy, harvest(copy))


def test_a_pipe_does_not_hold_it_up(copy: MaskedExport) -> None:
    os.mkfifo(Path(copy.folder, "pipe"))
    with pytest.raises(ProposalRefusedError, match="'pipe' is no longer a text file"):
        harvest(copy)


def test_a_mission_that_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be copied"):
        export_masked(str(tmp_path / "nowhere"), str(tmp_path / "copy"), to="somebody")


def test_it_stops_when_it_is_told_to(mission: Path, tmp_path: Path) -> None:
    copy = export_masked(str(mission), str(tmp_path / "copy"), to="somebody", stopped=lambda: True)
    assert copy.files == {} and copy.sent == ()
