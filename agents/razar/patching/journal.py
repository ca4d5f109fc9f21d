"""The journal of a patch: both versions of every file, what is to be done, and how far it is."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from agents.razar.patching.refusal import Refusal
from razar.utils import files
from razar.utils.digests import sha256_hex

if TYPE_CHECKING:
    from agents.razar.patching.policy import Change

__all__ = [
    "FOLDER",
    "LIMIT",
    "Entry",
    "Manifest",
    "State",
    "folder_of",
    "is_open",
    "known",
    "load",
    "new_id",
    "prepare",
    "set_state",
    "state_of",
    "stored",
]

State = Literal["proposed", "rejected", "swapping", "applied", "kept", "rolled_back", "reverted"]
_STATES: tuple[State, ...] = (
    "proposed",
    "rejected",
    "swapping",
    "applied",
    "kept",
    "rolled_back",
    "reverted",
)
_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{12}")
#: Largest stored file, in bytes.
LIMIT = 64 << 20
#: The folder of all transactions, below that of the logs.
FOLDER = "repairs"


class Entry(Struct, frozen=True, kw_only=True):
    """One file of a patch; ``mode`` are its permission bits, before and after. Digests are SHA-256."""

    path: str
    sha256_before: str | None
    sha256_after: str
    mode: int


class Manifest(Struct, frozen=True, kw_only=True):
    """What a transaction is about, written before anything is changed. ``waits``: for an approval."""

    schema: int = 1
    id: str
    component: str
    root: str
    entries: tuple[Entry, ...]
    diff: str = ""
    attempt: int = 1
    agent: str | None = None
    waits: bool = False


def new_id() -> str:
    """An id that sorts by time, to the microsecond: UTC to the second, then 5 and 7 hexadecimal digits."""
    seconds, micro = divmod(time.time_ns() // 1000, 1_000_000)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{stamp}-{micro:05x}{os.urandom(4).hex()[1:]}"


def folder_of(logs: str, id: str) -> str:
    """The folder of a transaction. Raises Refusal for what is no id."""
    if not _ID.fullmatch(id):
        raise Refusal(f"{id!a} is no repair; see razar repairs list")
    return os.path.join(os.path.abspath(logs), FOLDER, id)


def known(logs: str) -> list[str]:
    """The ids of all transactions, oldest first."""
    try:
        return sorted(name for name in os.listdir(os.path.join(logs, FOLDER)) if _ID.fullmatch(name))
    except FileNotFoundError:
        return []


def state_of(logs: str, id: str) -> State | None:
    """The state of a transaction; None if it was never completely prepared."""
    try:
        data = files.read_limited(os.path.join(folder_of(logs, id), "state"), 100) or b""
    except FileNotFoundError:
        return None
    text = data.decode(errors="replace").strip()
    return next((state for state in _STATES if state == text), None)


def is_open(logs: str, id: str) -> bool:
    """Whether its files were changed, or may have been, and were neither kept nor undone."""
    state = state_of(logs, id)
    return state in ("swapping", "applied") or (
        state is None and os.path.exists(os.path.join(folder_of(logs, id), "state"))
    )


def load(logs: str, id: str) -> Manifest:
    """Read a manifest. Raises Refusal if there is none."""
    try:
        data = files.read_limited(os.path.join(folder_of(logs, id), "manifest.json"), LIMIT) or b""
        return msgspec.json.decode(data, type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise Refusal(f"there is no repair {id}: {type(error).__name__}") from None


def set_state(logs: str, id: str, state: State) -> None:
    """Write the state to the disk, atomically."""
    folder = folder_of(logs, id)
    files.replace(os.path.join(folder, "state"), state.encode())
    _sync_folder(folder)


def prepare(
    logs: str,
    id: str,
    component: str,
    root: str,
    changes: tuple[Change, ...],
    *,
    diff: str = "",
    attempt: int = 1,
    agent: str | None = None,
    waits: bool = False,
) -> Manifest:
    """Store both versions of every file and what is to be done, on the disk; state ``proposed``."""
    folder = folder_of(logs, id)
    for name in ("original", "patched"):
        os.makedirs(os.path.join(folder, name), mode=0o700, exist_ok=True)
    entries = []
    for number, change in enumerate(changes):
        if change.before is not None:
            files.replace(os.path.join(folder, "original", str(number)), change.before, mode=0o600)
        files.replace(os.path.join(folder, "patched", str(number)), change.after, mode=0o600)
        entries.append(
            Entry(
                path=change.path,
                sha256_before=change.sha256_before,
                sha256_after=change.sha256_after,
                mode=change.mode,
            )
        )
    manifest = Manifest(
        id=id,
        component=component,
        root=os.path.realpath(root),
        entries=tuple(entries),
        diff=diff,
        attempt=attempt,
        agent=agent,
        waits=waits,
    )
    files.replace(os.path.join(folder, "manifest.json"), msgspec.json.encode(manifest))
    for name in ("original", "patched", ".", ".."):
        _sync_folder(os.path.join(folder, name))
    set_state(logs, id, "proposed")
    return manifest


def stored(logs: str, id: str, kind: Literal["original", "patched"], number: int, sha256: str) -> bytes:
    """One version of a file as it was put by. Raises Refusal if it is damaged, OSError."""
    path = os.path.join(folder_of(logs, id), kind, str(number))
    data = files.read_limited(path, LIMIT)
    if data is None or sha256_hex(data) != sha256:
        raise Refusal(f"the stored file {path} is damaged")
    return data


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
