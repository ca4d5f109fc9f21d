"""Names of files that no agent may touch, and names that are not what they seem."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable

from agents.razar.patching.refusal import Refusal

__all__ = ["check_name", "check_purpose", "named_in"]

_PATH_LIMIT = 1024
_NAME_LIMIT = 255

# Compared in lower case: on some file systems .GIT is .git.
_TEST_FOLDERS = frozenset({"__tests__", "spec", "specs", "test", "testing", "tests"})
_TEST_FILE = re.compile(r"test_.*|tests?\.[^.]+|.*_test\.[^.]+|.*[.-](?:test|spec)\.[^.]+|conftest\.py")
_HEALTH_FILE = re.compile(
    r"(?:.*[_-])?health(?:z|[_-]?checks?|[_-]?handlers?|[_-]?probes?)?|readyz|readiness|livez|liveness|(?:.*[_-])?probes?"
)
_DEPENDENCY_FILE = re.compile(
    r"(?:.*[_-])?requirements.*\.(?:txt|in)|constraints.*\.txt|pyproject\.toml|setup\.(?:py|cfg)|pipfile|tox\.ini"
    r"|noxfile\.py|pytest\.ini|package\.json|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml"
    r"|pnpm-workspace\.yaml|bun\.lockb|cargo\.toml|build\.rs|go\.(?:mod|sum|work)|gemfile|composer\.json"
    r"|environment\.ya?ml|.*\.lock|.*\.lockfile|.*\.gemspec"
)
_MISSION_FILE = re.compile(r"boot_config\.json|razar_env\.ya?ml")
_BUILD_FILE = re.compile(
    r"(?:gnu)?makefile|justfile|dockerfile.*|.*\.mk|(?:docker-)?compose.*\.ya?ml|jenkinsfile"
)
#: Run by an interpreter before the program it is asked for, or instead of the text beside them.
_STARTUP_FILE = re.compile(
    r"(?:site|user)customize\.py|.*\.(?:pth|pyc|pyo|pyd|so|dylib|dll|exe|whl|egg|jar|class|o|a)"
)
_STORE_FOLDERS = frozenset(
    {"__pycache__", "githooks", "missions", "node_modules", "razar_env.lock", "site-packages"}
)


def check_name(path: str) -> None:
    """Refuse a path that is not plainly a file below the mission folder. Looks at the text alone."""
    if not path or len(path) > _PATH_LIMIT:
        raise Refusal(f"a path has {len(path)} characters; it must have 1 to {_PATH_LIMIT}")
    shown = ascii(path)
    if not path.isprintable():
        raise Refusal(f"the path {shown} holds a character that cannot be seen")
    if "\\" in path:
        raise Refusal(f"the path {shown} holds a backslash; folders are parted by /")
    if path.startswith(("/", "~")):
        raise Refusal(f"the path {shown} is absolute; it must be relative to the mission folder")
    if unicodedata.normalize("NFC", path) != path or unicodedata.normalize("NFKC", path) != path:
        raise Refusal(f"the path {shown} is not in the normal form of Unicode: it looks like another name")
    for name in path.split("/"):
        if name in ("", ".", ".."):
            raise Refusal(f"the path {shown} has the part {name!r}, which is no name")
        if len(os.fsencode(name)) > _NAME_LIMIT:
            raise Refusal(f"the path {shown} has a name of more than {_NAME_LIMIT} bytes")
        if name != name.strip() or name.endswith("."):
            raise Refusal(f"the path {shown} has a name that begins or ends with a space or ends with a dot")
        if name.startswith("."):
            raise Refusal(f"the path {shown} is hidden; names that begin with a dot are never changed")
        if ":" in name:
            raise Refusal(f"the path {shown} holds a colon")


def check_purpose(path: str, *, new: bool) -> None:
    """Refuse files that judge, build or start the component instead of being its source."""
    lower = path.lower()
    *folders, file = lower.split("/")
    shown = ascii(path)
    if any(name.endswith(".git") for name in lower.split("/")) or _STORE_FOLDERS.intersection(folders):
        raise Refusal(f"{shown} lies in a folder that agents may not touch")
    if _TEST_FOLDERS.intersection(folders) or _TEST_FILE.fullmatch(file):
        raise Refusal(f"{shown} is a test; a repair may not change what judges it")
    if any(_HEALTH_FILE.fullmatch(name.split(".")[0]) for name in (*folders, file)):
        raise Refusal(f"{shown} is a probe or health handler; a repair may not change what judges it")
    if _DEPENDENCY_FILE.fullmatch(file) or _MISSION_FILE.fullmatch(file) or _BUILD_FILE.fullmatch(file):
        raise Refusal(f"{shown} is a dependency, lock, build or mission file; agents may not change those")
    if _STARTUP_FILE.fullmatch(file):
        raise Refusal(f"{shown} is of a kind that is run before, or instead of, the component's source")
    if new and file.endswith(".py") and file.removesuffix(".py") in sys.stdlib_module_names:
        raise Refusal(f"{shown} would hide a module of Python's own library")
    if new and file == "pytest.py":
        raise Refusal(f"{shown} would take the place of the test runner")


def named_in(path: str, commands: Iterable[Iterable[str]]) -> bool:
    """Tell whether one of the commands names this file, alone or within a word (``x.py::test``)."""
    for command in commands:
        for word in command:
            for part in re.split(r"[\s;&|=:'\"()]+", word):
                if part.removeprefix("./") == path:
                    return True
    return False
