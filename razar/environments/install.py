"""Filling a new folder: the virtual environment, the locked packages, the local ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from razar.environments.files import remove_file, write_text
from razar.environments.lock import Entries
from razar.environments.model import LayerError
from razar.environments.records import mismatched
from razar.environments.requirements import Requirement
from razar.environments.stamp import Folder, Listing, record_files
from razar.environments.uv import Uv

__all__ = ["install"]

#: Seconds for making an empty environment, and for downloading, building and installing.
CREATE_TIMEOUT, INSTALL_TIMEOUT = 120.0, 3600.0

# Copies, not links: the default on most disks is hard links to uv's cache, and then a file edited
# in place would be changed in the cache too, and from there in every environment built later.
# Where the file system can share blocks (btrfs, XFS) a copy costs no more than a link.
_INSTALL = ("--link-mode", "copy", "--compile-bytecode")


async def install(
    uv: Uv,
    folder: str,
    *,
    python: str,
    parts: Entries,
    local: list[Requirement],
    prompt: str,
    offline: bool,
    say: Callable[[str], None],
) -> tuple[list[Folder], list[Listing]]:
    """Build an environment in a folder that does not exist yet; return what is in it.

    Scripts hold the path of their interpreter, so it is built where it will stay. Bytecode is
    compiled now, because the first start of a component is part of the boot.
    """
    say("creating the environment")
    await uv(
        "creating the environment",
        *("venv", "--no-project", "--quiet", "--python", python, "--prompt", prompt, folder),
        timeout=CREATE_TIMEOUT,
    )
    target = ("--python", os.path.join(folder, "bin", "python"))
    if parts.hashed:
        say(f"installing {len(parts.hashed)} locked packages")
        await _locked(uv, folder, target, parts.hashed)
    files = await asyncio.to_thread(record_files, folder)
    if wrong := mismatched(folder, files[0]):
        files = await _repeat(uv, folder, target, parts.hashed, wrong, offline=offline, say=say)
    rest = [*parts.pinned, *(one.text for one in local)]
    if rest:
        say(f"installing {len(rest)} local packages and git revisions")
        await _rest(uv, folder, target, rest)
        files = await asyncio.to_thread(record_files, folder)
    return files


async def _locked(uv: Uv, folder: str, target: tuple[str, ...], hashed: tuple[str, ...], *more: str) -> None:
    await _from_file(uv, folder, hashed, "pip", "sync", "--require-hashes", *_INSTALL, *target, *more)


async def _rest(uv: Uv, folder: str, target: tuple[str, ...], rest: list[str]) -> None:
    """Install what cannot have a hash. ``--reinstall``: uv's cache misses edits in local packages."""
    await _from_file(uv, folder, rest, "pip", "install", "--no-deps", "--reinstall", *_INSTALL, *target, "-r")


async def _from_file(uv: Uv, folder: str, lines: list[str] | tuple[str, ...], *arguments: str) -> None:
    path = folder + ".txt"
    try:
        write_text(path, "\n".join(lines) + "\n")
        await uv("installing the packages", *arguments, path, timeout=INSTALL_TIMEOUT)
    finally:
        remove_file(path)


async def _repeat(
    uv: Uv,
    folder: str,
    target: tuple[str, ...],
    hashed: tuple[str, ...],
    wrong: dict[str, str],
    *,
    offline: bool,
    say: Callable[[str], None],
) -> tuple[list[Folder], list[Listing]]:
    """Fetch packages anew whose cached copy is not what their RECORD says."""
    names = ", ".join(sorted(wrong))
    first = min(wrong.values())
    if offline:
        raise LayerError(
            f"uv's cache holds an altered copy of {names} ({os.path.basename(first)} differs from what was "
            "published), and the network is not to be used; boot once without --offline"
        )
    say(f"uv's cache holds an altered copy of {names}; fetching it anew")
    again = [part for name in sorted(wrong) for part in ("--reinstall-package", name)]
    await _locked(uv, folder, target, hashed, *again)
    files = await asyncio.to_thread(record_files, folder)
    for package, path in mismatched(folder, files[0]).items():
        # Freshly fetched and checked against the lock's hash: the package's own list is wrong.
        say(f"{package} was published with a wrong entry for {os.path.relpath(path, folder)} in its RECORD")
    return files
