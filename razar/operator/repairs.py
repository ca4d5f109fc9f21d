"""What the commands know of repairs: the transactions under ``repairs/`` of the logs folder."""

from __future__ import annotations

import calendar
import os
import time
from typing import Any

from agents.razar.patching import journal
from agents.razar.patching.refusal import Refusal
from razar.utils.times import utc

__all__ = ["describe", "details", "listing"]


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
