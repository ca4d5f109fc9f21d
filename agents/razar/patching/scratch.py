"""A copy of a mission's files in which a patch is tried, without what is secret or not source."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from agents.razar.patching.left_out import INSTALLED, left_out
from agents.razar.patching.refusal import Refusal
from razar.utils.digests import sha256_hex

if TYPE_CHECKING:
    from agents.razar.patching.policy import Change

__all__ = ["Limits", "altered", "export", "lay", "left_in_place", "remove"]

_COPY_AT_ONCE = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Limits(Struct, frozen=True, kw_only=True):
    """How large a copy may become; files of more than ``file_bytes`` are not copied."""

    files: int = 20_000
    total_bytes: int = 512 << 20
    file_bytes: int | None = None


class _Copy:
    def __init__(self, limits: Limits, excluded: frozenset[tuple[int, int]]) -> None:
        self.limits = limits
        self.excluded = excluded
        self.files = 0
        self.size = 0

    def folder(self, source: int, target: int) -> None:
        names = os.listdir(source)
        for name in names:
            if left_out(name):
                continue
            try:
                found = os.stat(name, dir_fd=source, follow_symlinks=False)
            except FileNotFoundError:
                continue  # The component lives, and removes files as it goes.
            if (found.st_dev, found.st_ino) in self.excluded:
                continue
            self.files += 1
            if self.files > self.limits.files:
                raise Refusal(
                    f"the mission folder holds more than {self.limits.files} files, too many to copy",
                    passing=True,
                )
            if stat.S_ISDIR(found.st_mode):
                self._inner(name, source, target, found)
            elif stat.S_ISREG(found.st_mode):
                if self.limits.file_bytes is not None and found.st_size > self.limits.file_bytes:
                    continue
                self._file(name, source, target)
            elif stat.S_ISLNK(found.st_mode):
                _link(name, source, target)
            # Sockets, pipes and devices are no source.

    def _inner(self, name: str, source: int, target: int, found: os.stat_result) -> None:
        inner = os.open(name, _FOLDER, dir_fd=source)
        try:
            if "pyvenv.cfg" in os.listdir(inner):
                return
            os.mkdir(name, 0o700, dir_fd=target)
            copy = os.open(name, _FOLDER, dir_fd=target)
            try:
                self.folder(inner, copy)
            finally:
                os.close(copy)
        finally:
            os.close(inner)

    def _file(self, name: str, source: int, target: int) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            reading = os.open(name, flags, dir_fd=source)
        except (PermissionError, FileNotFoundError):
            return
        try:
            mode = stat.S_IMODE(os.fstat(reading).st_mode) & 0o777
            writing = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode | 0o200, dir_fd=target
            )
            try:
                while data := os.read(reading, _COPY_AT_ONCE):
                    self.size += len(data)
                    if self.size > self.limits.total_bytes:
                        limit = self.limits.total_bytes >> 20
                        raise Refusal(
                            f"the mission folder holds more than {limit} MiB, too much to copy", passing=True
                        )
                    view = memoryview(data)
                    while view:
                        view = view[os.write(writing, view) :]
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def _link(name: str, source: int, target: int) -> None:
    """Copy a link that stays among its neighbours; others could lead to the real files."""
    where = os.readlink(name, dir_fd=source)
    if not where.startswith("/") and ".." not in where.split("/"):
        os.symlink(where, name, dir_fd=target)


def export(root: str, target: str, *, leave_out: Iterable[str] = (), limits: Limits | None = None) -> int:
    """Copy a mission folder into ``target``, which is made; returns how many files and folders it has.

    ``leave_out`` are paths that are not copied, such as the logs. Version control, environment files,
    keys, caches and installed software never are. Raises Refusal for too much, OSError.
    """
    excluded = set()
    for path in (*leave_out, target):
        try:
            found = os.stat(path)
        except OSError:
            continue
        excluded.add((found.st_dev, found.st_ino))
    os.mkdir(target, 0o700)
    made = os.stat(target)
    excluded.add((made.st_dev, made.st_ino))
    copy = _Copy(limits or Limits(), frozenset(excluded))
    source = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        into = os.open(target, _FOLDER)
        try:
            copy.folder(source, into)
        finally:
            os.close(into)
    finally:
        os.close(source)
    return copy.files


def lay(target: str, changes: Iterable[Change]) -> None:
    """Write the new files into a copy. Raises Refusal if one was left out of the copy."""
    for change in changes:
        path = os.path.join(target, change.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.unlink(path)
        except FileNotFoundError:
            if change.before is not None:
                raise Refusal(
                    f"{change.path!a} is of a kind that is never copied, so it cannot be tried"
                ) from None
        fd = os.open(path, flags | os.O_EXCL, change.mode | 0o600)
        with open(fd, "wb") as file:
            file.write(change.after)


def altered(target: str, changes: Iterable[Change]) -> list[str]:
    """Paths of patched files that no longer hold what was written: something changed them."""
    found = []
    for change in changes:
        try:
            with open(os.path.join(target, change.path), "rb") as file:
                same = sha256_hex(file.read(len(change.after) + 1)) == change.sha256_after
        except OSError:
            same = False
        if not same:
            found.append(change.path)
    return found


def left_in_place(root: str) -> Iterator[str]:
    """Folders of installed software near the top of a mission: not copied, but fit to be shown."""
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if os.path.islink(path) or not os.path.isdir(path):
            continue
        if name in INSTALLED or os.path.exists(os.path.join(path, "pyvenv.cfg")):
            yield name


def remove(path: str) -> None:
    """Remove a copy, whatever its tests did to the modes in it; what resists is left."""
    import shutil

    for folder, _, _ in os.walk(path):
        try:
            os.chmod(folder, 0o700)
        except OSError:
            pass
    shutil.rmtree(path, ignore_errors=True)
