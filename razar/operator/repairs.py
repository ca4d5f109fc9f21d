"""What the commands know of repairs: the transactions under ``repairs/`` of the logs folder."""

from __future__ import annotations

import calendar
import os
import time
from typing import Any

from agents.razar.patching import journal
from agents.razar.patching.refusal import Refusal
from razar.utils.times import utc

__all__ = ["PAUSED", "describe", "details", "is_paused", "listing", "pause", "resume"]

#: While this file is there, nothing is handed to any agent.
PAUSED = "paused"


def listing(logs: str) -> list[dict[str, Any]]:
    """Every repair, oldest first; one that cannot be read says so in ``state``."""
    return [describe(logs, id) for id in journal.known(logs) if _is_transaction(logs, id)]


def _is_transaction(logs: str, id: str) -> bool:
    # An operator packet of a failure that nobody could repair has no transaction in it.
    return os.path.exists(os.path.join(journal.folder_of(logs, id), "manifest.json"))


def describe(logs: str, id: str) -> dict[str, Any]:
    """One repair in short. Raises Refusal for what is no id."""
    try:
        manifest = journal.load(logs, id)
    except Refusal as fault:
        if not os.path.isdir(journal.folder_of(logs, id)):
            raise
        return {"id": id, "component": "", "state": "damaged", "at": _made(id), "error": str(fault)}
    state = journal.state_of(logs, id) or "damaged"
    return {
        "id": id,
        "component": manifest.component,
        "state": "waits" if state == "proposed" and manifest.waits else state,
        "agent": manifest.agent,
        "attempt": manifest.attempt,
        "files": [entry.path for entry in manifest.entries],
        "at": _made(id),
    }


def details(logs: str, id: str) -> dict[str, Any]:
    """One repair with its diff and, where there is one, the report of its verification. Raises Refusal."""
    import msgspec

    from razar.utils.files import read_limited

    found = describe(logs, id)
    if found["state"] != "damaged":
        found["diff"] = journal.load(logs, id).diff
    try:
        data = read_limited(os.path.join(journal.folder_of(logs, id), "report.json"), journal.LIMIT)
        report = msgspec.json.decode(data or b"null")
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        report = None
    if isinstance(report, dict):
        found |= {key: report[key] for key in ("reason", "tests", "protection", "proven") if key in report}
    return found


def _made(id: str) -> str:
    """The instant an id was made at, in UTC; it begins with it."""
    try:
        return utc(calendar.timegm(time.strptime(id[:15], "%Y%m%dT%H%M%S")))
    except ValueError:
        return utc(float("nan"))


def is_paused(logs: str) -> str | None:
    """Why nothing is handed over; None if nothing is in the way."""
    try:
        with open(os.path.join(logs, journal.FOLDER, PAUSED), encoding="utf-8", errors="replace") as file:
            return file.read(1000).strip() or "paused"
    except FileNotFoundError:
        return None


def pause(logs: str, note: str) -> None:
    """Have nothing handed over from now on. Raises OSError."""
    from razar.utils import files

    os.makedirs(os.path.join(logs, journal.FOLDER), mode=0o750, exist_ok=True)
    files.replace(os.path.join(logs, journal.FOLDER, PAUSED), f"{note}\n".encode())


def resume(logs: str) -> bool:
    """Allow it again; False if it was allowed. Raises OSError."""
    try:
        os.unlink(os.path.join(logs, journal.FOLDER, PAUSED))
    except FileNotFoundError:
        return False
    return True
