"""The frames between RAZAR and Crown: their shapes, coding and checks. No I/O.

The protocol is described in ``docs/crown.md``; what an answer means is decided in
:mod:`razar.crown.judgement`. Whatever a peer sends, nothing but :class:`FrameError` is raised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from razar.crown.result import clean
from razar.utils.times import utc

__all__ = [
    "MAX_FRAME",
    "SUBPROTOCOL",
    "Answer",
    "DowntimeEntry",
    "FrameError",
    "MissionBrief",
    "brief_frame",
    "check_answer",
    "check_brief",
    "decode",
    "decode_brief",
    "encode",
    "quote",
]

#: The websocket subprotocol both sides negotiate.
SUBPROTOCOL = "razar.crown.v1"
#: The largest frame either side accepts, in bytes.
MAX_FRAME = 1 << 20

#: How deep the JSON of a frame may be nested, so that it can be walked without care.
_MAX_DEPTH = 64

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z")]


class FrameError(Exception):
    """A frame is not what the protocol asks for; the message says why, in plain words."""


class Issue(Struct, frozen=True):
    """An open issue of a brief, with the component or subject it belongs to."""

    id: str
    detail: str = ""


class MissionBrief(Struct, frozen=True, kw_only=True, tag_field="type", tag="mission_brief"):
    """What RAZAR sends; keys that are not named here are passed on as they are."""

    version: Literal[1]
    mission: Name
    boot_id: Annotated[str, Meta(min_length=1, max_length=128)]
    sent_at: Annotated[str, Meta(max_length=64)]
    priority_map: dict[str, int] = {}
    current_status: dict[str, str] = {}
    open_issues: list[str | Issue] = []
    objective: str | None = None


class DowntimeEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``downtime``; ``until`` is ISO 8601 or epoch seconds."""

    reason: str | None = None
    until: str | float | None = None
    patch: dict[str, Any] | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What Crown sends back, in the full form or, without ``type`` and ``status``, in the plain one."""

    type: Literal["ack"] | UnsetType = UNSET
    status: Literal["ack", "refused"] | UnsetType = UNSET
    crown_version: str | None = None
    ack: str | bool | None = None
    capabilities: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=256)
    ] = []
    downtime: Annotated[dict[str, DowntimeEntry], Meta(max_length=4096)] = {}


def encode(frame: object) -> bytes:
    """Encode a frame as JSON; raise FrameError if it is larger than MAX_FRAME."""
    data = msgspec.json.encode(frame)
    if len(data) > MAX_FRAME:
        raise FrameError(f"the frame has {len(data):,} bytes; at most {MAX_FRAME:,} are allowed")
    return data


def decode(raw: str | bytes) -> dict[str, Any]:
    """Decode a frame into an object; raise FrameError for anything that is not one."""
    if not isinstance(raw, str):
        raise FrameError(f"a binary frame of {len(raw):,} bytes came where JSON text was expected")
    if not raw.strip():
        raise FrameError("the frame is empty")
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise FrameError(f"the JSON is nested more than {_MAX_DEPTH} deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise FrameError(f"the frame is not JSON ({clean(str(error), 120)})") from None
    if _deeper_than(_MAX_DEPTH, value):
        raise FrameError(f"the JSON is nested more than {_MAX_DEPTH} deep")
    if not isinstance(value, dict):
        raise FrameError(f"the frame holds {_kind(value)} where an object was expected")
    return value


def _deeper_than(limit: int, value: object) -> bool:
    level: list[Any] = [value]
    for _ in range(limit + 1):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def brief_frame(brief: Mapping[str, Any], *, mission: str, boot_id: str, sent_at: float) -> dict[str, Any]:
    """Put a brief into its envelope; the envelope's keys win over the brief's own."""
    envelope = {
        "type": "mission_brief",
        "version": 1,
        "mission": mission,
        "boot_id": boot_id,
        "sent_at": utc(sent_at),
    }
    contents = {"priority_map": {}, "current_status": {}, "open_issues": []} | dict(brief)
    return envelope | {key: value for key, value in contents.items() if key not in envelope}


def check_brief(frame: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a brief in its envelope, or None."""
    try:
        msgspec.convert(dict(frame), MissionBrief)
    except msgspec.ValidationError as error:
        return _plain(error)
    return None


def decode_brief(raw: str | bytes) -> MissionBrief:
    """Decode and check a brief on receipt; raise FrameError."""
    frame = decode(raw)
    fault = check_brief(frame)
    if fault is not None:
        raise FrameError(fault)
    return msgspec.convert(frame, MissionBrief)


def check_answer(frame: Mapping[str, Any]) -> Answer:
    """Check the shapes of an answer, not what it says; raise FrameError."""
    try:
        return msgspec.convert(dict(frame), Answer)
    except msgspec.ValidationError as error:
        raise FrameError(_plain(error)) from None


#: What the kinds of JSON values are called in messages for people.
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}


def _kind(value: object) -> str:
    for type_, name in ((bool, "bool"), (str, "str"), (int, "int"), (float, "float"), (list, "array")):
        if isinstance(value, type_):
            return _KINDS[name]
    return _KINDS["null" if value is None else "object"]


def quote(value: object) -> str:
    """Show a peer's value: text short and printable, of everything else only what kind it is."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{clean(value, 60)}"' if isinstance(value, str) else _kind(value)


def _plain(error: msgspec.ValidationError) -> str:
    """Put a validation message of msgspec into the words used elsewhere."""
    what, _, where = str(error).partition(" - at `")
    place = where.rstrip("`").removeprefix("$").removeprefix(".") or "the frame"
    what = re.sub(r"`([a-z |]+)`", lambda m: " or ".join(_KINDS.get(k, k) for k in m[1].split(" | ")), what)
    return clean(f"{place}: {what[:1].lower()}{what[1:]}", 300)
