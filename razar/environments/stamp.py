"""What was installed: the record that is written when an environment is complete.

A stamp lies beside its environment as ``<folder>.json``; an environment without one is not
complete. It lists every file except bytecode caches, which Python itself may rewrite.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from razar.config.model import EnvironmentSpec
from razar.environments.files import write_atomically
from razar.environments.machine import Interpreter
from razar.environments.sources import Source

__all__ = [
    "Folder",
    "Stamp",
    "added",
    "asked",
    "fingerprint",
    "read_stamp",
    "record_files",
    "refreshed",
    "stamp_path",
    "suspects",
    "write_stamp",
]

FORMAT = 1


class Folder(Struct, frozen=True, array_like=True):
    """The files of one folder in columns: names, sizes (bytes), change times (ns), fingerprints.

    The change time (``st_ctime_ns``) moves with every write, and unlike the modification time
    nobody can set it back.
    """

    path: str
    names: list[str]
    sizes: list[int]
    changes: list[int]
    fingerprints: list[str]


class Listing(Struct, frozen=True, array_like=True):
    """A folder in which no name may be added, with its modification time (ns)."""

    path: str
    modified: int
    names: list[str]


class Stamp(Struct, frozen=True, kw_only=True):
    """A complete environment. ``asked`` and ``lock`` are compared as text: that needs no hashing."""

    format: int
    digest: str
    asked: str
    lock: str
    platform: str
    interpreter: Interpreter
    sources: list[Source]
    folders: list[Folder]
    listings: list[Listing]


_decoder = msgspec.json.Decoder(Stamp)


def asked(spec: EnvironmentSpec) -> str:
    """Spell out a layer's entry in razar_env.yaml."""
    return msgspec.json.encode([spec.layer, spec.python, spec.dependencies]).decode()


def stamp_path(folder: str) -> str:
    """Return where the stamp of an environment lies."""
    return folder + ".json"


def read_stamp(folder: str) -> Stamp | None:
    """Return an environment's stamp, or None if there is none of this format."""
    try:
        with open(stamp_path(folder), "rb", buffering=0) as file:
            stamp = _decoder.decode(file.read())
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return stamp if stamp.format == FORMAT else None


def write_stamp(folder: str, stamp: Stamp) -> None:
    """Declare an environment complete."""
    write_atomically(stamp_path(folder), msgspec.json.encode(stamp))


def fingerprint(path: str) -> str:
    """Return what a file is: ``l`` and a link's target, or ``x``/``-`` and the SHA-256 of the content.

    The digest is spelt as in a wheel's RECORD (urlsafe base64 without padding); ``x`` means that
    the owner may execute the file.
    """
    import base64
    import hashlib

    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        return "l" + os.readlink(path)
    if not stat.S_ISREG(found.st_mode):
        return "?"
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    kind = "x" if found.st_mode & stat.S_IXUSR else "-"
    return kind + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _walk(root: str, below: str = "") -> Iterator[tuple[str, list[str]]]:
    names: list[str] = []
    inner: list[str] = []
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    inner.append(os.path.join(below, entry.name))
            else:
                names.append(entry.name)
    yield below, sorted(names)
    for path in sorted(inner):
        yield from _walk(root, path)


def _names(path: str) -> set[str]:
    return {name for name in os.listdir(path) if name != "__pycache__"}


def record_files(folder: str) -> tuple[list[Folder], list[Listing]]:
    """Read every file of a finished environment."""
    folders = []
    listings = []
    for below, names in _walk(folder):
        path = os.path.join(folder, below)
        found = [os.lstat(os.path.join(path, name)) for name in names]
        folders.append(
            Folder(
                path=below,
                names=names,
                sizes=[one.st_size for one in found],
                changes=[one.st_ctime_ns for one in found],
                fingerprints=[fingerprint(os.path.join(path, name)) for name in names],
            )
        )
        if below == "bin" or os.path.basename(below) == "site-packages":
            listings.append(Listing(below, os.stat(path).st_mtime_ns, sorted(_names(path))))
    return folders, listings


def suspects(folder: str, stamp: Stamp) -> list[tuple[str, str]]:
    """Return (path, fingerprint) of each file whose size or change time differs, or that is missing."""
    found: list[tuple[str, str]] = []
    lstat = os.lstat
    for part in stamp.folders:
        path = os.path.join(folder, part.path, "")
        for name, size, change, mark in zip(
            part.names, part.sizes, part.changes, part.fingerprints, strict=True
        ):
            try:
                now = lstat(path + name)
            except OSError:
                found.append((path + name, mark))
            else:
                if now.st_ctime_ns != change or now.st_size != size:
                    found.append((path + name, mark))
    return found


def added(folder: str, stamp: Stamp) -> str | None:
    """Return a name that was added where Python looks for modules, start-up hooks and commands.

    Deeper folders are left alone: some packages keep caches beside their modules.
    """
    for listing in stamp.listings:
        path = os.path.join(folder, listing.path)
        try:
            if os.stat(path).st_mtime_ns == listing.modified:
                continue
            more = _names(path).difference(listing.names)
        except OSError:
            return path
        if more:
            return os.path.join(path, min(more))
    return None


def refreshed(folder: str, stamp: Stamp) -> Stamp:
    """Return the stamp with today's change times, for files that were found to be the same."""
    folders = []
    for part in stamp.folders:
        path = os.path.join(folder, part.path)
        changes = [os.lstat(os.path.join(path, name)).st_ctime_ns for name in part.names]
        folders.append(msgspec.structs.replace(part, changes=changes))
    listings = [
        msgspec.structs.replace(one, modified=os.stat(os.path.join(folder, one.path)).st_mtime_ns)
        for one in stamp.listings
    ]
    return msgspec.structs.replace(stamp, folders=folders, listings=listings)
