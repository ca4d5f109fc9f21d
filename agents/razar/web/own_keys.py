"""Our own keys in what an agent sent: found in the forms in which they are easily hidden."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

__all__ = ["WITHHELD", "OwnKeys"]

#: What stands in an answer where a key of ours was. A proposal that holds it is refused.
WITHHELD = "[key withheld]"
#: Shorter ones are words that would be found everywhere.
_SHORTEST = 6


class OwnKeys:
    """Finds and masks keys: as they are, percent-encoded, in hexadecimal, in base64 at any offset."""

    def __init__(self, keys: Iterable[str | None]) -> None:
        forms: set[str] = set()
        for key in keys:
            if isinstance(key, str) and len(key.strip()) >= _SHORTEST:
                forms |= _forms(key.strip())
        # Longest first: a form that begins with another one is masked whole.
        longest = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def __repr__(self) -> str:
        return "OwnKeys()"

    def text(self, text: str) -> str:
        """A text with every key replaced."""
        return text if self._pattern is None else self._pattern.sub(WITHHELD, text)

    def value(self, value: Any) -> Any:
        """A JSON value with every key replaced, in names too. Raises RecursionError if it is too deep."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def found(self, text: str) -> bool:
        """Whether a text holds a key, or the place where one was."""
        return WITHHELD in text or (self._pattern is not None and self._pattern.search(text) is not None)


def _forms(key: str) -> set[str]:
    data = key.encode("utf-8", "surrogatepass")
    forms = {key, quote(key, safe="", errors="replace"), data.hex(), data.hex().upper()}
    for before in range(3):
        # Inside a longer text the first and last characters also depend on the neighbours.
        coded = b2a_base64(b"\0" * before + data, newline=False).decode()
        start = (0, 2, 3)[before]
        spare = (before + len(data)) % 3
        core = coded[start : len(coded) - (0, 3, 2)[spare]] if spare else coded[start:]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= _SHORTEST}
