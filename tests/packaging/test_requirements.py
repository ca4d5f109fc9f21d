"""Requirements are locked with hashes, and the locks say nothing of where they were made."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
SOURCES = sorted((ROOT / "requirements").glob("*.in"))


def entries(lock: Path) -> list[str]:
    """The requirements of a lock, each with its hashes on one line."""
    lines = [
        line
        for line in lock.read_text().replace("\\\n", " ").splitlines()
        if not line.lstrip().startswith("#")
    ]
    return [line for line in lines if line.strip()]


def wanted(source: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in source.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("-r")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_has_its_hashes_and_one_version(lock: Path) -> None:
    found = entries(lock)
    assert found
    for entry in found:
        requirement, _, hashes = entry.partition("--hash=")
        assert re.search(r"sha256:[0-9a-f]{64}", hashes), entry[:60]
        assert re.fullmatch(r"==[^,*]+", str(Requirement(requirement.strip()).specifier)), entry[:60]


@pytest.mark.parametrize("path", [*LOCKS, *SOURCES], ids=lambda path: path.name)
def test_no_lock_names_a_host_or_a_path(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?:|://|index-url|find-links|trusted-host|file:|@ ", text)
    assert not re.search(r"(?<![\w.-])/(home|root|tmp|work|usr|opt)/", text)


def test_every_source_has_a_lock_that_satisfies_it() -> None:
    assert [path.stem for path in SOURCES] == [path.stem for path in LOCKS]
    for source in SOURCES:
        locked: dict[str, SpecifierSet] = {}
        for entry in entries(source.with_suffix(".txt")):
            requirement = Requirement(entry.partition("--hash=")[0].strip())
            locked.setdefault(requirement.name, requirement.specifier)
        for line in wanted(source):
            requirement = Requirement(line)
            name = requirement.name.lower().replace("_", "-")
            assert name in locked, f"{source.name}: {line}"
            (pinned,) = locked[name]
            assert requirement.specifier.contains(pinned.version), f"{source.name}: {line}"


def test_the_project_depends_on_what_the_runtime_lock_is_made_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(project["dependencies"]) == sorted(wanted(ROOT / "requirements" / "runtime.in"))
