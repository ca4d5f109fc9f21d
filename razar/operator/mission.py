"""What the commands know of a mission: its last snapshot, how it ended, and its ids."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from razar.control.address import LOCK_NAME
from razar.operator.output import complain
from razar.utils.files import read_limited
from razar.utils.times import parse_utc

__all__ = [
    "JOURNAL_NAME",
    "STATE_NAME",
    "Ending",
    "boot_ended",
    "ending",
    "known_ids",
    "log_folders",
    "read_snapshot",
    "unknown_ids",
]

STATE_NAME = "razar_state.json"
JOURNAL_NAME = "razar_journal.jsonl"
#: Entries of ``events`` that a snapshot keeps (``LIMIT`` in razar.projections.recent_events).
_EVENTS = 100
#: Bytes beyond which a snapshot is none of ours.
_LONGEST = 256 << 20


class Ending(NamedTuple):
    """How a mission that does not run came to its end; ``at`` is epoch seconds or None."""

    how: str
    at: float | None
    clean: bool


def read_snapshot(logs: str) -> dict[str, Any] | None:
    """Read razar_state.json as it is; None, and a word on stderr, if it is no snapshot.

    Unlike the supervisor, which would set a corrupt file aside, a look at it changes nothing.
    """
    path = os.path.join(logs, STATE_NAME)
    try:
        data = read_limited(path, _LONGEST)
        snapshot = json.loads(data or b"")
        if isinstance(snapshot["components"], list) and all(
            _is_entry(entry) for entry in snapshot["components"]
        ):
            return dict(snapshot)
        complain(f"{path} is no snapshot of a mission")
    except FileNotFoundError:
        pass
    except OSError as fault:
        complain(f"{path} cannot be read: {fault.strerror}")
    except (ValueError, TypeError, KeyError, RecursionError):
        complain(f"{path} is no snapshot of a mission")
    return None


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), str) for key in ("id", "layer", "state")
    )


def ending(snapshot: dict[str, Any] | None, logs: str) -> Ending:
    """Say how a mission that does not run ended; ``snapshot`` is what :func:`read_snapshot` gave."""
    if _size(os.path.join(logs, LOCK_NAME)):
        # Whoever ends in order empties the lock's file.
        at = max(_written(os.path.join(logs, name)) for name in (STATE_NAME, JOURNAL_NAME))
        return Ending(
            "its supervisor ended without stopping it: killed, or the machine went down", at or None, False
        )
    entries = [entry for entry in (snapshot or {}).get("events") or () if isinstance(entry, dict)]
    about_mission = {str(entry.get("step")): entry for entry in entries if entry.get("component") is None}
    boot, stop = about_mission.get("boot"), about_mission.get("stop")
    if boot is not None:
        outcome = f", {_boot_words(boot)}"
    else:  # Of a long list, the end of the boot may be no longer on it.
        outcome = ", before its boot had ended" if len(entries) < _EVENTS else ""
    if stop is not None and stop is _last(entries, ("boot", "stop")):
        return Ending(f"it was stopped{outcome}", _number(stop.get("timestamp")), True)
    return Ending("it ended", _written(os.path.join(logs, STATE_NAME)) or None, True)


def boot_ended(snapshot: dict[str, Any] | None, boot_id: str, began: float) -> float | None:
    """When a boot ended, as epoch seconds; None if it has not, or the snapshot is of another one.

    To the second only once so much has happened since that the snapshot no longer lists it.
    """
    if snapshot is None or snapshot.get("boot_id") != boot_id:
        return None
    entries = [entry for entry in snapshot.get("events") or () if isinstance(entry, dict)]
    entry = _last(entries, ("boot",))
    at = _number(entry.get("timestamp")) if isinstance(entry, dict) else None
    if at is None and len(entries) >= _EVENTS:
        with suppress(ValueError):
            at = parse_utc(str(snapshot.get("last_boot"))) + 1
    return at if at is not None and at >= began else None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _last(entries: Sequence[dict[str, Any]], steps: Collection[str]) -> object:
    for entry in reversed(entries):
        if entry.get("component") is None and entry.get("step") in steps:
            return entry
    return None


def _boot_words(boot: dict[str, Any]) -> str:
    if boot.get("status") == "complete":
        return "after a complete boot"
    return f"after a failed boot: {boot.get('error') or 'no reason given'}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def known_ids(logs: str) -> list[str]:
    """Return the ids of the last snapshot and of the folders of logs."""
    snapshot = read_snapshot(logs)
    ids = [entry["id"] for entry in snapshot["components"]] if snapshot is not None else []
    return [*ids, *(name for name in log_folders(logs) if name not in ids)]


def log_folders(logs: str) -> list[str]:
    """Return the ids of the components that have a folder of logs."""
    try:
        return sorted(entry.name for entry in os.scandir(os.path.join(logs, "components")) if entry.is_dir())
    except OSError:
        return []


def unknown_ids(asked: Iterable[str], known: Collection[str]) -> bool:
    """Complain about ids that do not exist, with the nearest that do; whether there were any."""
    unknown = [id for id in dict.fromkeys(asked) if id not in known]
    if unknown:
        from difflib import get_close_matches

        for id in unknown:
            near = get_close_matches(id[:100], known, n=3)
            there = ", ".join(sorted(known)[:20]) or "none"
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {there}"
            complain(f"there is no component {id!r}; {hint}")
    return bool(unknown)
