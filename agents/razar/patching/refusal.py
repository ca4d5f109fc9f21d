"""The one way in which the pipeline says no."""

from __future__ import annotations

__all__ = ["Refusal"]


class Refusal(Exception):
    """A proposal is not carried out; the message says why, for people and for the next attempt.

    ``passing`` refusals say nothing about the patch (a full disk, a file that somebody else changed):
    the same patch may be tried again.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing
