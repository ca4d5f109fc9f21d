"""Edits that an agent offers one after the other while nothing is written: put together file by file."""

from __future__ import annotations

import os

from agents.razar.errors import ProposalRefusedError
from agents.razar.local.masked_export import MaskedExport, edits_of
from agents.razar.local.text_changes import merged
from agents.razar.proposals.proposal import Edit

__all__ = ["Collected"]


class Collected:
    """The texts that files of a copy are to have, by path."""

    def __init__(self, copy: MaskedExport) -> None:
        self._copy = copy
        self._texts: dict[str, str] = {}
        self.count = 0

    def text(self, path: str) -> str | None:
        """A file as the agent means it to be by now; None if there is no such file."""
        place = self._place(path)
        shown = self._copy.files.get(place)
        return self._texts.get(place, None if shown is None else shown.text)

    def add(self, path: str, old: str | None, new: str) -> None:
        """Take an edit from ``old`` to ``new``; either may be the whole text or a part of it.

        Raises ProposalRefusedError if it does not fit the file, nor what was collected of it before.
        """
        place = self._place(path)
        shown = self._copy.files.get(place)
        base = None if shown is None else shown.text
        if base is not None and "\r\n" in base:
            base, old, new = _plain(base), None if old is None else _plain(old), _plain(new)
        before = self._texts.get(place, base)
        if base is None or before is None:
            # A new file: what it holds is known from its own edits alone.
            text = new if not before or not old or old == before else _replaced(place, before, old, new)
        elif old is None or old == base:
            text = merged(place, base, before, new)
        elif old == before:
            text = new
        elif before.count(old) == 1:
            text = _replaced(place, before, old, new)
        else:
            text = merged(place, base, before, _replaced(place, base, old, new))
        if text != before:
            self.count += 1
        self._texts[place] = text

    def edits(self, written: dict[str, str]) -> list[Edit]:
        """The edits of the real files, with what the agent wrote into the copy all the same."""
        texts = dict(written)
        for place, text in self._texts.items():
            shown = self._copy.files.get(place)
            if place not in texts:
                texts[place] = text
            elif shown is not None:
                texts[place] = merged(place, _plain(shown.text), _plain(texts[place]), _plain(text))
            elif texts[place] != text:
                raise ProposalRefusedError(
                    f"the answer is refused: it offers two forms of the new file {place!a}"
                )
        return edits_of(self._copy, texts)

    def _place(self, path: str) -> str:
        folder = self._copy.folder
        place = os.path.relpath(os.path.normpath(os.path.join(folder, path)), folder)
        if place == "." or place.startswith(("../", "/")) or place == ".." or "\0" in place:
            raise ProposalRefusedError(f"the answer is refused: it edits {path[:200]!a}, outside the project")
        return place


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n") if text.count("\r\n") == text.count("\n") else text


def _replaced(place: str, text: str, old: str, new: str) -> str:
    if not old or text.count(old) != 1:
        raise ProposalRefusedError(
            f"the answer is refused: its edit of {place!a} begins with a text that the file does not hold"
        )
    return text.replace(old, new)
