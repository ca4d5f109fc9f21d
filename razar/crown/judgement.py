"""What an answer of Crown means: a refusal, unless it says yes in a form that is known here. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from razar.crown.protocol import Answer, DowntimeEntry, FrameError, check_answer, quote
from razar.crown.result import Downtime, Handshake, Status, clean, parse_until
from razar.utils.times import utc

__all__ = ["has_capability", "is_negative", "judge"]

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
#: How large all patches of an answer may be together, in bytes of JSON.
_MAX_PATCHES = 1 << 16
#: The longest text of Crown that is kept, in characters.
_TEXT = 500

#: A no as the first word, the last word, any word, the beginning of any word.
_FIRST = frozenset(
    {"no", "nope", "nay", "n", "false", "0", "null", "none", "nil", "off", "negative", "fail", "failed"}
    | {"failure", "error", "invalid", "unknown", "unavailable", "offline", "busy", "pending", "wait"}
)
_LAST = frozenset({"no", "nope", "false", "negative"})
_ANYWHERE = frozenset(
    {"not", "never", "nack", "nacked", "nak", "cannot", "cant", "can't", "wont", "won't", "dont", "don't"}
    | {"isnt", "isn't", "unable", "unauthorized", "unauthorised", "forbidden", "deny", "denied", "denies"}
)
_STEMS = ("refus", "reject", "declin", "disallow", "disapprov", "prohibit", "abort")


def judge(answer: Mapping[str, Any], *, known: Collection[str], now: float) -> Handshake:
    """Decide what an answer means: ``ack`` only if it says so, ``refused`` for everything else.

    ``known`` holds the ids of the mission's components, ``now`` is epoch seconds.
    """
    if "type" in answer and answer["type"] != "ack":
        return _refused(f"Crown answered with a frame of type {quote(answer['type'])}, not ack")
    try:
        frame = check_answer(answer)
        capabilities = _capabilities(frame.capabilities)
        downtime, warnings = _downtime(frame.downtime, known, now)
    except FrameError as error:
        return _refused(f"Crown's answer is malformed: {error}")
    status, reason = _verdict(frame, empty=not answer)
    return Handshake(
        status=status,
        crown_version=clean(frame.crown_version or "", 64),
        acknowledgement=clean(frame.ack, _TEXT) if isinstance(frame.ack, str) else "",
        capabilities=capabilities if status == "ack" else (),
        downtime=downtime if status == "ack" else {},
        reason=reason,
        warnings=warnings if status == "ack" else (),
    )


def _verdict(frame: Answer, *, empty: bool) -> tuple[Status, str | None]:
    """Weigh ``status`` and ``ack``; the second value says why it is a refusal."""
    if empty:
        return "refused", "Crown's answer is an empty object"
    said = clean(frame.ack, 200) if isinstance(frame.ack, str) else ""
    if frame.status == "refused":
        return "refused", f"Crown refused the mission: {said}" if said else "Crown refused the mission"
    if frame.type == "ack":
        if frame.status is UNSET:
            return "refused", "Crown's answer is malformed: status is missing"
        if frame.ack is False or _flat_no(said):
            return "refused", f'Crown\'s answer contradicts itself: status "ack", ack {quote(frame.ack)}'
        return "ack", None
    if frame.ack is True:
        return "ack", None
    if not isinstance(frame.ack, str) or not _words(said):
        return "refused", "Crown did not acknowledge the mission: its answer holds no positive ack"
    if is_negative(frame.ack):
        return "refused", f"Crown did not acknowledge the mission: {said}"
    return "ack", None


def _refused(reason: str) -> Handshake:
    return Handshake(status="refused", reason=clean(reason, _TEXT))


def is_negative(text: str) -> bool:
    """Whether a plain acknowledgement is a no: empty, a word of refusal, or ``no`` first or last.

    In doubt it is: ``accepted, but not before noon`` is a no.
    """
    words = _words(text)
    if not words or words[0] in _FIRST or words[-1] in _LAST:
        return True
    return any(word in _ANYWHERE or word.startswith(_STEMS) for word in words)


def _flat_no(text: str) -> bool:
    """Whether a text says nothing but no."""
    words = _words(text)
    return len(words) == 1 and is_negative(text)


def _words(text: str) -> tuple[str, ...]:
    if not text.isascii():
        # Full-width and other compatibility letters spell the same words.
        import unicodedata

        text = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return tuple(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.casefold()))


def _capabilities(names: Iterable[str]) -> tuple[str, ...]:
    cleaned = [clean(name, 128) for name in names]
    if not all(cleaned):
        raise FrameError("capabilities holds a name without a printable character")
    return tuple(dict.fromkeys(cleaned))


def _downtime(
    entries: Mapping[str, DowntimeEntry], known: Collection[str], now: float
) -> tuple[dict[str, Downtime], tuple[str, ...]]:
    """Check every entry before any is used; what cannot be acted on becomes a warning."""
    for id in entries:
        if not _ID.match(id):
            raise FrameError(f"downtime names {quote(id)}, which is not the id of a component")
    downtime: dict[str, Downtime] = {}
    patches = 0
    strangers: list[str] = []
    warnings: list[str] = []
    for id, entry in entries.items():
        try:
            until = parse_until(entry.until)
        except ValueError as error:
            raise FrameError(f"downtime.{id}.until {error}") from None
        patches += 0 if entry.patch is None else len(msgspec.json.encode(entry.patch))
        if patches > _MAX_PATCHES:
            raise FrameError(f"the patches are larger than {_MAX_PATCHES:,} bytes together")
        if id not in known:
            strangers.append(id)
        elif until is not None and until <= now:
            warnings.append(f"downtime of {id} ended at {utc(until)}: it is not held")
        else:
            reason = clean(entry.reason or "", _TEXT) or "announced by Crown"
            downtime[id] = Downtime(reason=reason, until=until, patch=entry.patch)
            if entry.patch:
                warnings.append(f"Crown sent a patch for {id}: it is recorded, not applied")
    if strangers:
        names = ", ".join(strangers[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
        warnings.append(f"Crown announced downtime for what is not in this mission: {names}")
    return downtime, tuple(warnings)


def has_capability(capabilities: Iterable[str], model: str) -> bool:
    """Whether one of the names means ``model``: equal to it or starting with it, after dropping
    case, ``-``, ``_``, ``.`` and white space."""
    wanted = _squeeze(model)
    return bool(wanted) and any(_squeeze(name).startswith(wanted) for name in capabilities)


def _squeeze(name: str) -> str:
    return re.sub(r"[-_.\s]", "", name.casefold())
