"""The record of what was said to and by Crown: redacted JSON lines, appended, never rewritten."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from typing import Any, Literal

import msgspec

from razar.utils.files import append_line, rotate
from razar.utils.redaction import MASK, Redactor
from razar.utils.times import utc

__all__ = ["FRAME_LIMIT", "Dialogues", "FrameMask", "mask_values"]

#: How much of one frame is recorded, in characters.
FRAME_LIMIT = 64 * 1024
#: Bytes above which a new file is begun; the one before is kept.
LOG_LIMIT = 16 << 20

#: How far beyond a cut a secret is looked for, in characters.
_MARGIN = 1000
#: Keys whose value is a secret, whatever it looks like.
_SENSITIVE = re.compile(r"token|key|secret|passw|credential|authorization", re.IGNORECASE)
#: What JSON does not escape and a terminal acts on: C1 controls, DEL and the marks of text direction.
_UNSEEN = dict.fromkeys([*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def mask_values(value: Any, redactor: Redactor) -> Any:
    """Mask the secrets in every text inside a JSON value; keys stay as they are."""
    if isinstance(value, str):
        return redactor(value)
    if isinstance(value, dict):
        return {key: mask_values(item, redactor) for key, item in value.items()}
    if isinstance(value, list):
        return [mask_values(item, redactor) for item in value]
    return value


class FrameMask:
    """Masks secrets by value and pattern, and whole values by the name of their key.

    ``exempt`` holds keys that are names of something else (the ids of components). Of all texts
    together FRAME_LIMIT characters are kept: a peer decides how many there are, and masking takes
    its time. ``cut`` tells whether that was not all.
    """

    def __init__(self, redactor: Redactor, exempt: Collection[str] = ()) -> None:
        self._redactor = redactor
        self._exempt = exempt
        self._left = FRAME_LIMIT
        self.cut = False

    def __call__(self, value: Any) -> Any:
        """Return a copy of a JSON value that may be shown."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._item(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        return value

    def text(self, text: str) -> str:
        """Mask a text, and cut it where the limit is reached."""
        left = self._left
        self._left -= min(left, len(text))
        if len(text) <= left:
            return self._redactor(text)
        self.cut = True
        # A secret that the cut would halve must still be recognised as a whole.
        return self._redactor(text[: left + _MARGIN])[:left] + "…" if left else "…"

    def _item(self, key: str, item: Any) -> Any:
        if item is None or isinstance(item, bool) or key in self._exempt or not _SENSITIVE.search(key):
            return self(item)
        return MASK


class Dialogues:
    """Appends to ``razar_crown_dialogues.jsonl``; a frame above FRAME_LIMIT is cut, with a note."""

    def __init__(
        self,
        path: str,
        *,
        redactor: Redactor,
        mission: str,
        boot_id: str,
        url: str,
        exempt: Collection[str] = (),
    ) -> None:
        self._path = path
        self._redactor = redactor
        self._about = {"mission": mission, "boot_id": boot_id, "url": url}
        self._exempt = exempt

    def record(self, direction: Literal["sent", "received"], frame: str | bytes) -> None:
        """Append one frame as it went over the wire. Raises OSError."""
        now = time.time()
        line: dict[str, Any] = {"time": utc(now), "timestamp": now, "direction": direction, **self._about}
        line["bytes"] = len(frame) if isinstance(frame, bytes) else len(frame.encode(errors="replace"))
        line |= self._shown(frame)
        os.makedirs(os.path.dirname(self._path), mode=0o750, exist_ok=True)
        if os.path.isfile(self._path) and os.path.getsize(self._path) > LOG_LIMIT:
            rotate(self._path, 1)
        append_line(self._path, msgspec.json.encode(line).decode().translate(_UNSEEN).encode())

    def _shown(self, frame: str | bytes) -> dict[str, Any]:
        if isinstance(frame, bytes):
            return {"note": "binary frame, contents not recorded"}
        mask = FrameMask(self._redactor, self._exempt)
        try:
            shown = mask(msgspec.json.decode(frame))
            text = msgspec.json.encode(shown).decode()
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            mask = FrameMask(self._redactor)
            shown = text = mask.text(frame)
        if len(text) > 2 * FRAME_LIMIT:  # numbers and brackets, which no mask looks at
            shown, mask.cut = text[:FRAME_LIMIT], True
        return (
            {"frame": shown, "note": f"cut after {FRAME_LIMIT:,} characters"}
            if mask.cut
            else {"frame": shown}
        )
