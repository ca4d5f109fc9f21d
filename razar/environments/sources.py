"""Local paths among the dependencies: what lies there, and whether it is still the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from razar.environments.model import LayerError

if TYPE_CHECKING:
    from razar.environments.requirements import Requirement

__all__ = ["Source", "look", "metadata_digest", "record"]

# Made by builds, tools and RAZAR itself; none of it decides what is installed.
_IGNORED = frozenset(
    {"__pycache__", "build", "dist", "logs", "node_modules", "quarantine_log.md", "razar_env.lock", "target"}
)
# What can decide which dependencies a project has.
_METADATA = ("pyproject.toml", "setup.py", "setup.cfg")


class Source(Struct, frozen=True):
    """A local path as it was when it was installed.

    ``files`` maps a path below it to ``(size in bytes, change time in ns)``; ``digest`` is the
    SHA-256 (hex) of their names and contents. ``portable`` is the dependency it stands for.
    """

    portable: str
    path: str
    digest: str
    files: dict[str, tuple[int, int]]


def _walk(path: str, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name in _IGNORED or name.startswith(".") or name.endswith((".egg-info", ".pyc")):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{below}{name}/")
            elif entry.is_file():
                yield below + name, entry.stat()


def _files(path: str) -> dict[str, tuple[int, int]]:
    if os.path.isdir(path):
        return {name: (found.st_size, found.st_ctime_ns) for name, found in _walk(path)}
    found = os.stat(path)
    return {"": (found.st_size, found.st_ctime_ns)}


def _digest(path: str, names: list[str]) -> str:
    import hashlib

    total = hashlib.sha256()
    for name in sorted(names):
        with open(os.path.join(path, name) if name else path, "rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def record(requirement: Requirement) -> Source:
    """Read a local path whole; raise LayerError if it cannot be."""
    path = requirement.path or ""
    try:
        files = _files(path)
        return Source(requirement.portable, path, _digest(path, list(files)), files)
    except OSError as error:
        raise LayerError(
            f"the local dependency {requirement.portable!r} cannot be read: "
            f"{error.strerror} ({error.filename})"
        ) from None


def look(source: Source) -> Source | str:
    """Return the source with today's change times, or the first file that differs from it."""
    try:
        files = _files(source.path)
        if files == source.files:
            return source
        if _digest(source.path, list(files)) == source.digest:
            return Source(source.portable, source.path, source.digest, files)
    except OSError as error:
        return f"{source.path} ({error.strerror})"
    differing = [name for name in {**source.files, **files} if source.files.get(name) != files.get(name)]
    return os.path.join(source.path, min(differing)) if min(differing) else source.path


def metadata_digest(requirements: list[Requirement]) -> str:
    """Digest what decides on the dependencies of the local paths: a change makes the lock stale."""
    import hashlib

    total = hashlib.sha256()
    for requirement in sorted(requirements, key=lambda one: one.portable):
        path = requirement.path
        if path is None:
            continue
        names = [""]
        if os.path.isdir(path):
            names = [
                name
                for name in sorted(os.listdir(path))
                if name in _METADATA or (name.startswith("requirements") and name.endswith(".txt"))
            ]
        try:
            total.update(f"{requirement.portable}\0{_digest(path, names)}\n".encode())
        except OSError as error:
            raise LayerError(
                f"the local dependency {requirement.portable!r} cannot be read: "
                f"{error.strerror} ({error.filename})"
            ) from None
    return total.hexdigest()
