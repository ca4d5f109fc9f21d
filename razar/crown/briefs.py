"""Mission briefs: made from the plan, the last state and the quarantine, and archived as sent."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from razar.crown.result import clean
from razar.utils.files import replace
from razar.utils.times import file_stamp

__all__ = ["KEEP", "archive_brief", "archive_response", "make_brief"]

#: How many briefs of one mission are kept.
KEEP = 20
#: How many open issues a brief holds, and how long one may be, in characters.
_MAX_ISSUES = 200
_MAX_DETAIL = 500


def make_brief(
    order: Sequence[str], previous_state: Mapping[str, Any] | None, quarantine: Iterable[Any]
) -> dict[str, Any]:
    """Make the brief of a boot for which the operator has given none.

    ``order`` holds the ids in the order of the plan, ``previous_state`` is the last razar_state.json,
    ``quarantine`` ids, or objects with an id (``id`` or ``component``) and a ``detail``, ``error``
    or ``reason``. Of what is not shaped like that nothing is used.
    """
    entries = previous_state.get("components") if isinstance(previous_state, Mapping) else None
    last = {
        entry["id"]: entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    issues = [_issue(item, "quarantined") for item in quarantine]
    issues += [_issue(entry) for id in order if _text((entry := last.get(id, {})).get("error"))]
    # One issue per component: what is said of the quarantine counts.
    unique: dict[str, dict[str, str]] = {}
    for issue in issues:
        if issue["id"]:
            unique.setdefault(issue["id"], issue)
    return {
        "priority_map": {id: position for position, id in enumerate(order, 1)},
        "current_status": {id: _text(last.get(id, {}).get("state")) or "pending" for id in order},
        "open_issues": list(unique.values())[:_MAX_ISSUES],
    }


def _issue(item: object, default: str = "") -> dict[str, str]:
    if not isinstance(item, Mapping):
        return {"id": _text(item), "detail": default}
    id = _text(item.get("id")) or _text(item.get("component"))
    detail = next((t for k in ("detail", "error", "reason") if (t := _text(item.get(k)))), default)
    return {"id": id, "detail": detail}


def _text(value: object) -> str:
    return clean(value, _MAX_DETAIL) if isinstance(value, str) else ""


def archive_brief(folder: str, mission: str, at: float, frame: Mapping[str, Any]) -> str:
    """Write a brief into the archive and return its path.

    ``at`` is the time of sending in epoch seconds. Raises OSError.
    """
    os.makedirs(folder, mode=0o750, exist_ok=True)
    base = f"{mission}_{file_stamp(at)}"
    temporary = os.path.join(folder, f".{base}.{os.getpid()}.tmp")
    replace(temporary, _pretty(frame), sync=False)
    try:
        number = 1
        while True:
            name = f"{base}.json" if number == 1 else f"{base}-{number}.json"
            path = os.path.join(folder, name)
            try:
                # A link, unlike a rename, never replaces the brief of another boot.
                os.link(temporary, path)
                break
            except FileExistsError:
                number += 1
    finally:
        os.unlink(temporary)
    _prune(folder, mission, keep=name)
    return path


def archive_response(brief_path: str, response: Mapping[str, Any]) -> str:
    """Write Crown's answer beside its brief and return its path. Raises OSError."""
    path = _response_of(brief_path)
    replace(path, _pretty(response), sync=False)
    return path


def _response_of(brief_path: str) -> str:
    return brief_path.removesuffix(".json") + "_response.json"


def _pretty(content: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _prune(folder: str, mission: str, *, keep: str) -> None:
    """Remove all but the newest briefs of one mission, each with its response.

    The whole name must match, so that ``demo`` never counts the briefs of ``demo_2``. Age is read
    from the name; the brief just written stays even if the clock was set back.
    """
    pattern = re.compile(re.escape(mission) + r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-([1-9]\d*))?\.json")
    briefs = []
    for name in os.listdir(folder):
        if match := pattern.fullmatch(name):
            briefs.append((match[1], int(match[2] or 1), name))
    briefs.sort(reverse=True)
    for _, _, name in [brief for brief in briefs if brief[2] != keep][KEEP - 1 :]:
        path = os.path.join(folder, name)
        # The response goes first: a brief without one is found again, a response alone is not.
        for doomed in (_response_of(path), path):
            with contextlib.suppress(OSError):
                os.unlink(doomed)
