"""A missing dependency is added to razar_env.yaml, as a transaction that can be undone to the byte."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

from msgspec import Struct

from agents.razar.escalation.ladder import LOCAL
from agents.razar.patching import journal, record, transaction
from agents.razar.patching.policy import Change, diff_of
from agents.razar.patching.record import FileDigests
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.tree import Tree
from agents.razar.uninterrupted import to_its_end
from razar.config.model import Approval
from razar.issues.environment_edit import EditError
from razar.issues.fixes import SIZE_LIMIT, addition
from razar.utils import files
from razar.utils.redaction import redact

__all__ = ["Addition", "add", "examine"]


class Addition(Struct, frozen=True, kw_only=True):
    """A dependency that a layer is to get, as a change of the file at ``folder``."""

    layer: str
    package: str
    folder: str
    change: Change
    diff: str
    digests: tuple[FileDigests, ...]


class Added(Struct, frozen=True, kw_only=True):
    """What became of it."""

    id: str
    status: Literal["applied", "proposed", "rejected"]
    reason: str


def examine(path: str, layer: str, package: str) -> Addition | str:
    """What the change would be, or why there can be none. Writes nothing."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        with Tree(folder) as tree:
            existing = tree.read(name, limit=SIZE_LIMIT)
        if existing is None:
            return f"there is no {name}"
        after = addition(existing.data.decode("utf-8"), layer, package).encode()
    except (Refusal, EditError) as refusal:
        return str(refusal)
    except UnicodeDecodeError:
        return f"{name} is not UTF-8"
    except OSError as fault:
        return f"{name} cannot be read: {files.why(fault)}"
    change = Change(path=name, before=existing.data, after=after, mode=existing.mode)
    digests = (FileDigests(path=name, sha256_before=change.sha256_before, sha256_after=change.sha256_after),)
    return Addition(
        layer=layer, package=package, folder=folder, change=change, diff=diff_of([change]), digests=digests
    )


def tried(logs: str, component: str, addition: Addition) -> str | None:
    """What became of the same change of the same bytes before; None if it was not tried."""
    return record.tried(logs, record.key_of(component, addition.digests))


async def add(logs: str, component: str, addition: Addition, *, approval: Approval, number: int) -> Added:
    """Apply it, put it by for approval, or only show it. Raises OSError if the record cannot be written.

    The layer must be built anew afterwards, and again after ``keep`` or ``rollback`` was refused.
    """
    id = journal.new_id()
    key = record.key_of(component, addition.digests)
    status: Literal["applied", "proposed", "rejected"] = "proposed"
    try:
        if approval == "never":
            reason = "only shown (approval is set to never)"
        else:
            await to_its_end(
                asyncio.to_thread(
                    journal.prepare,
                    logs,
                    id,
                    component,
                    addition.folder,
                    (addition.change,),
                    diff=redact(addition.diff),
                    attempt=number,
                    agent=LOCAL,
                    waits=approval == "ask",
                )
            )
            reason = "waits for approval"
        if approval == "auto":
            await _swap(logs, id)
            status, reason = "applied", "added; the layer is built anew"
        else:
            record.remember(logs, key, f"it was proposed as {id}")
    except asyncio.CancelledError:
        if journal.state_of(logs, id) == "proposed":
            journal.set_state(logs, id, "rejected")
        raise
    except Refusal as refusal:
        status, reason = "rejected", str(refusal)
    try:
        record.log_patch(
            logs,
            component=component,
            attempt=number,
            agent=LOCAL,
            id=id,
            status=status,
            reason=reason,
            diff=addition.diff,
            files_changed=addition.digests,
        )
    except OSError:
        if status == "applied":
            transaction.rollback(logs, id)  # No change without a record.
        raise
    return Added(id=id, status=status, reason=reason)


async def _swap(logs: str, id: str) -> None:
    """Put the file in place; a caller that is cancelled meanwhile leaves it as it was."""
    try:
        await to_its_end(asyncio.to_thread(transaction.apply, logs, id))
    except asyncio.CancelledError:
        if journal.state_of(logs, id) == "applied":
            await to_its_end(asyncio.to_thread(transaction.rollback, logs, id))
        raise
