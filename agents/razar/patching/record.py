"""The log of patches, ``razar_ai_patches.json``, and the memory of those that were tried."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from razar.utils import files
from razar.utils.digests import sha256_hex
from razar.utils.encoding import encode_json
from razar.utils.redaction import redact
from razar.utils.times import utc_micro

if TYPE_CHECKING:
    from agents.razar.patching.journal import Entry
    from agents.razar.patching.sandbox import CommandRun

__all__ = ["FILE_NAME", "FileDigests", "PatchStatus", "forget", "key_of", "log_patch", "remember", "tried"]

FILE_NAME = "razar_ai_patches.json"
#: Characters of a diff and of a reason that are kept in a record.
DIFF_LIMIT = 64_000
REASON_LIMIT = 8_000

PatchStatus = Literal["proposed", "rejected", "applied", "rolled_back", "reverted"]


class FileDigests(Struct, frozen=True, kw_only=True):
    """A file of a patch with its SHA-256 before (None: it was made) and after."""

    path: str
    sha256_before: str | None
    sha256_after: str


def digests(entries: Iterable[Entry]) -> tuple[FileDigests, ...]:
    """The files of a transaction as a record shows them."""
    return tuple(
        FileDigests(path=entry.path, sha256_before=entry.sha256_before, sha256_after=entry.sha256_after)
        for entry in entries
    )


def log_patch(
    logs: str,
    *,
    component: str,
    attempt: int,
    agent: str | None,
    id: str,
    status: PatchStatus,
    reason: str,
    diff: str = "",
    files_changed: Iterable[FileDigests] = (),
    tests: Iterable[CommandRun] = (),
    timestamp: float | None = None,
) -> None:
    """Append one record. ``timestamp`` is epoch seconds, default now. Raises OSError."""
    at = time.time() if timestamp is None else timestamp
    record = {
        "component": component,
        "attempt": attempt,
        "agent": agent,
        "id": id,
        "status": status,
        "reason": redact(reason[: 2 * REASON_LIMIT])[:REASON_LIMIT],
        "diff": shortened(redact(diff)),
        "files": [msgspec.to_builtins(file) for file in files_changed],
        "tests": [
            {"command": redact(run.command)[:1000], "exit": run.exit, "seconds": run.seconds} for run in tests
        ],
        "timestamp": at,
        "timestamp_iso": utc_micro(at),
    }
    os.makedirs(logs, exist_ok=True)
    files.append_line(os.path.join(logs, FILE_NAME), encode_json(record))


def shortened(diff: str) -> str:
    """A diff without what does not fit into a record."""
    if len(diff) <= DIFF_LIMIT:
        return diff
    return f"{diff[:DIFF_LIMIT]}\n[{len(diff) - DIFF_LIMIT} more characters]\n"


def key_of(component: str, changed: Iterable[FileDigests]) -> str:
    """Identify a patch: the same change of the same bytes. In other bytes it may do something else."""
    parts = sorted((file.path, file.sha256_before, file.sha256_after) for file in changed)
    return sha256_hex(msgspec.json.encode([component, parts]))


def tried(logs: str, key: str) -> str | None:
    """Say what became of a patch that was tried before; None if it may be tried."""
    try:
        data = files.read_limited(_path(logs, key), 4096)
    except FileNotFoundError:
        return None
    return (data or b"").decode(errors="replace") or "it was tried before"


def remember(logs: str, key: str, what: str) -> None:
    """Have :func:`tried` refuse a patch from now on. Raises OSError."""
    os.makedirs(os.path.dirname(_path(logs, key)), mode=0o750, exist_ok=True)
    files.replace(_path(logs, key), what.encode()[:4096])


def forget(logs: str, key: str) -> None:
    """Let a patch be tried again: it held."""
    try:
        os.unlink(_path(logs, key))
    except FileNotFoundError:
        pass


def _path(logs: str, key: str) -> str:
    return os.path.join(logs, "repairs", "tried", key)
