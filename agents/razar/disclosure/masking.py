"""Masks a text and counts the places."""

from __future__ import annotations

from msgspec import Struct

from razar.utils.redaction import MASK, redact, redact_source

__all__ = ["Masked", "masked", "masked_source"]


class Masked(Struct, frozen=True):
    """A text without secrets, and in how many places there were some."""

    text: str
    places: int


def masked(text: str) -> Masked:
    """Mask a text of any kind."""
    return _counted(text, redact(text))


def masked_source(text: str, path: str) -> Masked:
    """Mask a file; in the source of a program only what is written out counts as a secret."""
    return _counted(text, redact_source(text, path))


def _counted(before: str, after: str) -> Masked:
    if before == after:
        return Masked(after, 0)
    # What was removed without a trace (the user-info of a URL) counts as one place.
    return Masked(after, max(1, after.count(MASK) - before.count(MASK)))
