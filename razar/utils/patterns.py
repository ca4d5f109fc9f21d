"""Regular expressions that are compiled when they are first needed: many take a millisecond each."""

from __future__ import annotations

import re

__all__ = ["Pattern"]


class Pattern:
    """A regular expression with hints: a text that holds none of them cannot match, and is not searched.

    Without hints every text is searched. Where the expression ignores case, hints are in lower case.
    """

    def __init__(self, expression: str, *hints: str, flags: re.RegexFlag = re.NOFLAG) -> None:
        self.hints = hints
        self.expression = expression
        self.flags = flags
        self._compiled: re.Pattern[str] | None = None

    def search(self, text: str) -> re.Match[str] | None:
        """As that of ``re``."""
        return self._made().search(text) if self._may(text) else None

    def match(self, text: str) -> re.Match[str] | None:
        """As that of ``re``."""
        return self._made().match(text) if self._may(text) else None

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """As that of ``re``."""
        return self._made().fullmatch(text) if self._may(text) else None

    def _may(self, text: str) -> bool:
        if not self.hints:
            return True
        text = text.lower() if self.flags & re.IGNORECASE else text
        return any(hint in text for hint in self.hints)

    def _made(self) -> re.Pattern[str]:
        if self._compiled is None:
            self._compiled = re.compile(self.expression, self.flags)
        return self._compiled
