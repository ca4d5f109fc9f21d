"""What an agent may propose, as types and as the one tool it is offered.

The form is ours; the tool's envelope is that of chat completions
(``{"type": "function", "function": {"name", "description", "parameters"}}``).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

__all__ = ["TOOL", "Edit", "Proposal", "tool"]

#: Letters, digits and ``_`` alone: the marker form of a call cannot carry other names.
TOOL = "propose_patch"
#: All texts of a proposal together, in characters.
SIZE_LIMIT = 1_000_000
EDITS_LIMIT = 50

_Path = Annotated[
    str, Meta(min_length=1, max_length=500, description="The file, relative to the project's root.")
]
_Old = Annotated[
    str, Meta(min_length=1, description="Text that occurs exactly once in the file, to be replaced by new.")
]
_New = Annotated[str, Meta(description="What stands in the place of old.")]
_Content = Annotated[str, Meta(description="The whole file instead, without old and new.")]
_Summary = Annotated[str, Meta(min_length=1, max_length=2000, description="What the patch does.")]
_Cause = Annotated[str, Meta(min_length=1, max_length=8000, description="Why the component failed.")]
_Confidence = Annotated[float, Meta(ge=0, le=1, description="From 0 to 1 that this repairs it.")]
_Tests = Annotated[
    list[Annotated[str, Meta(max_length=500)]],
    Meta(max_length=20, description="Names of existing tests that show it. Nothing here is executed."),
]


class Edit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change: ``old`` by ``new``, or the file's whole ``content``."""

    path: _Path
    old: _Old | None = None
    new: _New | None = None
    content: _Content | None = None

    def __post_init__(self) -> None:
        if self.content is None:
            if self.old is None or self.new is None:
                raise ValueError("an edit has either old and new, or content")
            if self.old == self.new:
                raise ValueError("an edit whose old and new are the same changes nothing")
        elif self.old is not None or self.new is not None:
            raise ValueError("an edit with content has neither old nor new")

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text in it."""
        return (self.path, self.old or "", self.new or "", self.content or "")


class Proposal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A patch as an agent proposes it. Its paths and contents have been checked for form alone."""

    summary: _Summary
    root_cause: _Cause
    edits: Annotated[list[Edit], Meta(min_length=1, max_length=EDITS_LIMIT)]
    confidence: _Confidence | None = None
    tests_to_run: _Tests = []

    def __post_init__(self) -> None:
        whole = [edit.path for edit in self.edits if edit.content is not None]
        for path in whole:
            if sum(edit.path == path for edit in self.edits) > 1:
                raise ValueError("a file that is given whole is edited once more")
        if sum(map(len, self.texts)) > SIZE_LIMIT:
            raise ValueError(f"the proposal is longer than {SIZE_LIMIT:,} characters")

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text in it."""
        edits = [text for edit in self.edits for text in edit.texts]
        return (self.summary, self.root_cause, *edits, *self.tests_to_run)


def tool() -> dict[str, Any]:
    """Return the tool for the ``tools`` of a chat request."""
    made: dict[str, Any] = msgspec.json.decode(_encoded())
    return made


@cache
def _encoded() -> bytes:
    # Made from the types by agents.razar.proposals.schema: that takes longer than to read it.
    with open(os.path.join(os.path.dirname(__file__), "tool.json"), "rb") as file:
        return file.read()
