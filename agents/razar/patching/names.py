"""Names of files that no agent may touch, and names that are not what they seem."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from agents.razar.patching.refusal import Refusal
from razar.utils.patterns import Pattern

__all__ = ["check_name", "check_purpose", "named_in"]

_PATH_LIMIT = 1024
_NAME_LIMIT = 255

# Compared in lower case: on some file systems .GIT is .git.
_TEST_FOLDERS = frozenset({"__tests__", "spec", "specs", "test", "testing", "tests"})
_TEST_FILE = Pattern(
    r"test_.*|tests?\.[^.]+|.*_test\.[^.]+|.*[.-](?:test|spec)\.[^.]+|conftest\.py", "test", "spec"
)
_HEALTH_FILE = Pattern(
    r"(?:.*[_-])?health(?:z|[_-]?checks?|[_-]?handlers?|[_-]?probes?)?|readyz|readiness|livez|liveness|(?:.*[_-])?probes?",
    *("health", "read", "live", "probe"),
)
_DEPENDENCY_FILE = Pattern(
    r"(?:.*[_-])?requirements.*\.(?:txt|in)|constraints.*\.txt|pyproject\.toml|setup\.(?:py|cfg)|pipfile|tox\.ini"
    r"|noxfile\.py|pytest\.ini|package\.json|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml"
    r"|pnpm-workspace\.yaml|bun\.lockb|cargo\.toml|build\.rs|go\.(?:mod|sum|work)|gemfile|composer\.json"
    r"|environment\.ya?ml|.*\.lock|.*\.lockfile|.*\.gemspec",
    # Hardly any file of source holds one of these.
    *(".txt", ".in", ".toml", "setup.", "pipfile", ".ini", "noxfile", ".json", ".y", "build.rs", "go."),
    *("gemfile", ".lock", ".gemspec"),
)
_MISSION_FILES = frozenset({"boot_config.json", "razar_env.yaml", "razar_env.yml"})
_BUILD_FILE = Pattern(
    r"(?:gnu)?makefile|justfile|dockerfile.*|.*\.mk|(?:docker-)?compose.*\.ya?ml|jenkinsfile",
    *("file", ".mk", "compose"),
)
#: Run by an interpreter before the program it is asked for, or instead of the text beside them.
_STARTUP_FILE = Pattern(
    r"(?:site|user)customize\.py|.*\.(?:pth|pyc|pyo|pyd|so|dylib|dll|exe|whl|egg|jar|class|o|a)",
    *("customize", ".pt", ".pyc", ".pyo", ".pyd", ".so", ".d", ".e", ".whl", ".jar", ".class", ".o", ".a"),
)
_INTERPRETER = Pattern(r"(?:python|pypy|node|ruby|perl|php|deno|bun)[0-9.]*|(?:ba|da|z|k)?sh")
_RUNNERS = frozenset("ava bats jest mocha nose2 phpunit pytest py.test rspec tap tox unittest vitest".split())
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
    if not path.isascii() and not _is_normal(path):
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


def _is_normal(path: str) -> bool:
    import unicodedata

    return all(unicodedata.normalize(form, path) == path for form in ("NFC", "NFKC"))


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
    if _DEPENDENCY_FILE.fullmatch(file) or file in _MISSION_FILES or _BUILD_FILE.fullmatch(file):
        raise Refusal(f"{shown} is a dependency, lock, build or mission file; agents may not change those")
    if _STARTUP_FILE.fullmatch(file):
        raise Refusal(f"{shown} is of a kind that is run before, or instead of, the component's source")
    if new and file.endswith(".py") and file.removesuffix(".py") in sys.stdlib_module_names:
        raise Refusal(f"{shown} would hide a module of Python's own library")
    if new and file == "pytest.py":
        raise Refusal(f"{shown} would take the place of the test runner")


def named_in(path: str, commands: Iterable[Iterable[str]]) -> bool:
    """Tell whether a file is the program of one of the commands, or what its test runner is given.

    A file that is merely an argument (of a compiler, of a linter) does not judge anything.
    """
    return any(path in {_plain(name) for name in _judges(list(command))} for command in commands)


def _plain(name: str) -> str:
    """Without the name of a test, and without ``./``."""
    return name.partition("::")[0].removeprefix("./")


def _judges(words: list[str]) -> Iterable[str]:
    if not words:
        return
    program, rest = words[0], words[1:]
    kind = os.path.basename(program)
    if _INTERPRETER.fullmatch(kind):
        if "-c" in rest or "-e" in rest:
            yield from _named_in_code(rest)
            return
        if "-m" in rest[:-1]:
            program, rest = rest[rest.index("-m") + 1], rest[rest.index("-m") + 2 :]
            kind = program
            yield program.replace(".", "/") + ".py"
            yield program.replace(".", "/") + "/__main__.py"
        else:
            arguments = [word for word in rest if not word.startswith("-")]
            # The value of an option (-X dev) is no file; the script is what looks like one.
            files = [number for number, word in enumerate(arguments) if "/" in word or "." in word]
            at = files[0] if files else 0
            program, rest = "".join(arguments[at : at + 1]), arguments[at + 1 :]
            kind = os.path.basename(program)
    yield program
    if kind in _RUNNERS:
        yield from rest


def _named_in_code(words: list[str]) -> Iterable[str]:
    """Every word of a program that is given on the command line, and what the commands in it run."""
    for text in words:
        yield from re.split(r"[\s;&|=:,'\"()]+", text) if "'" in text or '"' in text else ()
        for part in re.split(r"[;&|\n]+", text):
            yield from _judges(part.split())
