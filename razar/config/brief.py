"""Loads a mission brief: a JSON object of which some keys have a form, or every fault at once."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct

from razar.config.collector import Collector
from razar.config.document import read_bytes
from razar.config.faults import quote
from razar.config.json_document import decode_json
from razar.config.positions import scan_json
from razar.config.shape import salvage
from razar.config.wire import Name

__all__ = ["BriefFile", "IssueEntry", "load_brief"]

#: Largest brief, in bytes: it has to fit into one frame to Crown, of 1 MiB.
_MAX_BYTES = 1024 * 1024 - 64 * 1024

Priority = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Priorities = Annotated[
    dict[str, Priority], Meta(extra={"expected": "an object of component ids and whole numbers"})
]
Statuses = Annotated[dict[str, str], Meta(extra={"expected": "an object of component ids and texts"})]


class IssueEntry(Struct, kw_only=True, gc=False):
    """An open issue of one component; further keys are passed on."""

    id: Name
    """Component the issue is about."""
    detail: str = ""
    """What is wrong."""


class BriefFile(Struct, kw_only=True, gc=False):
    """A mission brief; further keys are passed on to Crown."""

    priority_map: Priorities = {}
    """Priority of components."""
    current_status: Statuses = {}
    """Status of components."""
    open_issues: list[str | IssueEntry] = []
    """Issues: texts, or objects with the id of a component and a detail."""
    objective: str = ""
    """What the mission is for."""


def load_brief(path: str, ids: Collection[str] | None = None) -> dict[str, Any]:
    """Load and check a brief; raise ConfigurationError with every fault.

    ``ids`` are the components of the mission; None if they are not known.
    """
    data = read_bytes(path, limit=_MAX_BYTES)
    value = decode_json(data, path)
    faults = Collector(path)
    salvage(value, BriefFile, faults)
    if isinstance(value, dict) and ids is not None:
        _check_ids(value, ids, faults)
    error = faults.error(partial(scan_json, data.decode()))
    if error.faults or not isinstance(value, dict):
        raise error
    return value


def _check_ids(value: dict[str, Any], ids: Collection[str], faults: Collector) -> None:
    def unknown(id: str, *at: str | int, key: bool) -> None:
        if id not in ids:
            hint = faults.suggest(id, ids)
            faults.add(at, f"{quote(id)}, which is no component", "the id of a component", hint, key=key)

    for name in ("priority_map", "current_status"):
        entries = value.get(name)
        for id in entries if isinstance(entries, dict) else ():
            unknown(id, name, id, key=True)
    issues = value.get("open_issues")
    for number, issue in enumerate(issues if isinstance(issues, list) else ()):
        if isinstance(issue, dict) and isinstance(issue.get("id"), str):
            unknown(issue["id"], "open_issues", number, "id", key=False)
