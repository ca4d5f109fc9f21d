"""Repairs that held before: asked for first, and told how each repair ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agents.razar.attempts import Say
from agents.razar.proposals.proposal import Proposal
from razar.utils.redaction import one_line, redact, redact_source

if TYPE_CHECKING:
    from agents.razar.patching.record import FileDigests

__all__ = ["Memory", "Remembered", "patch_repair", "proposal_of"]

#: Characters of an error that the memory is given.
_ERROR = 8000


class Memory(Protocol):
    """What is needed of the memory bundle."""

    def record_failure(self, component: str, error_class: str, error: str) -> str:
        """Count a failure and return its fingerprint."""

    def record_repair(self, fingerprint: str, repair: dict[str, Any], held: bool) -> None:
        """Record that a repair of a failure held, or did not."""

    def close(self) -> None:
        """Let go of the file."""

    def recall_repair(self, fingerprint: str) -> Sequence[Mapping[str, Any]]:
        """Return ``{"repair", "held", "failed", "score", …}`` of what held, the most reliable first."""


class Remembered:
    """The memory, opened when it is first needed, in a thread. Whatever fails there is told once."""

    def __init__(self, open: Callable[[], Memory | None] | None, say: Say) -> None:
        self._open = open
        self._say = say
        self._memory: Memory | None = None
        self._opened = open is None
        self._told = False
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Open it now; what is wrong with it is told."""
        await self._do(lambda memory: None)

    async def failed(self, component: str, issue: str, error: str) -> str | None:
        """Record a failure; return its fingerprint, None without a memory."""
        text = redact(error)[:_ERROR]
        found = await self._do(lambda memory: memory.record_failure(component, issue, text))
        return found if isinstance(found, str) else None

    async def recall(self, fingerprint: str | None) -> list[dict[str, Any]]:
        """The repairs of a failure that held, the most reliable first."""
        if fingerprint is None:
            return []
        found = await self._do(lambda memory: memory.recall_repair(fingerprint))
        return [entry["repair"] for entry in found or () if isinstance(entry.get("repair"), dict)]

    async def settled(self, fingerprint: str | None, repair: dict[str, Any] | None, held: bool) -> None:
        """Record how a repair ended."""
        if fingerprint is not None and repair is not None:
            await self._do(lambda memory: memory.record_repair(fingerprint, repair, held))

    async def close(self) -> None:
        """Let go of the memory's file. It is not opened again."""
        async with self._lock:
            memory, self._memory, self._opened = self._memory, None, True
            if memory is not None:
                await asyncio.to_thread(memory.close)

    async def _do(self, work: Callable[[Memory], Any]) -> Any:
        async with self._lock:
            try:
                if not self._opened:
                    self._opened = True
                    assert self._open is not None
                    self._memory = await asyncio.to_thread(self._open)
                    if self._memory is None:
                        self._tell("there is none")
                if self._memory is not None:
                    return await asyncio.to_thread(work, self._memory)
            except Exception as error:  # A memory that fails must not stop a repair.
                self._tell(one_line(f"{type(error).__name__}: {error}", 300))
            return None

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._say("WARN", f"no memory of past repairs: {why}")


def patch_repair(proposal: Proposal, files: tuple[FileDigests, ...]) -> dict[str, Any] | None:
    """A patch as the memory keeps it: the edits, and what they did to which bytes.

    None for one that holds a secret: it must be repeated to the letter, and a secret is not kept.
    """
    if any(redact_source(text, edit.path) != text for edit in proposal.edits for text in edit.texts):
        return None
    return {
        "kind": "patch",
        "summary": proposal.summary,
        "root_cause": proposal.root_cause,
        "edits": [
            {key: value for key, value in msgspec.to_builtins(edit).items() if value is not None}
            for edit in proposal.edits
        ],
        "files": {file.path: [file.sha256_before, file.sha256_after] for file in files},
    }


def proposal_of(repair: dict[str, Any]) -> tuple[Proposal, dict[str, str]] | None:
    """The proposal in a remembered patch, and the digests of its files once it is in place.

    None for what is no patch: the memory's file is input like any other.
    """
    if repair.get("kind") != "patch":
        return None
    fields = {key: repair.get(key) for key in ("summary", "root_cause", "edits")}
    try:
        proposal = msgspec.convert(fields, Proposal)
        files = msgspec.convert(repair.get("files", {}), dict[str, tuple[str | None, str]])
    except msgspec.ValidationError:
        return None
    return proposal, {path: after for path, (_, after) in files.items()}
