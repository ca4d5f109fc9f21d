"""What is decided about a patch afterwards: approve, reject, keep, undo; and what a crash left open."""

from __future__ import annotations

from agents.razar.patching import journal, record, transaction
from agents.razar.patching.refusal import Refusal
from razar.utils.redaction import redact

__all__ = ["UNPROVEN", "approve", "keep", "recover", "reject", "rollback"]

#: Why a start undoes a patch.
UNPROVEN = "RAZAR ended before the patch had proved itself, or could be undone"


def _record_change(logs: str, manifest: journal.Manifest, status: record.PatchStatus, reason: str) -> None:
    record.log_patch(
        logs,
        component=manifest.component,
        attempt=manifest.attempt,
        agent=manifest.agent,
        id=manifest.id,
        status=status,
        reason=reason,
        diff=manifest.diff,
        files_changed=record.digests(manifest.entries),
    )


def _key(manifest: journal.Manifest) -> str:
    return record.key_of(manifest.component, record.digests(manifest.entries))


def approve(id: str, *, logs: str) -> tuple[str, ...]:
    """Apply a patch that waits for approval; returns its paths. Raises Refusal or OSError, with nothing changed.

    It waits on after a passing refusal: what stands in its way may be mended.
    """
    try:
        manifest = transaction.apply(logs, id)
    except Refusal as refusal:
        if not refusal.passing or journal.state_of(logs, id) != "proposed":
            raise
        then = f"mend that and approve {id} again, or reject it"
        raise Refusal(f"{refusal}; the patch waits on: {then}", passing=True) from None
    try:
        record.forget(logs, _key(manifest))
        _record_change(logs, manifest, "applied", "approved")
    except OSError:
        transaction.rollback(logs, id)  # No change without a record.
        raise
    return tuple(entry.path for entry in manifest.entries)


def reject(id: str, *, logs: str, reason: str = "rejected by the operator") -> None:
    """Turn down a patch that waits for approval. Raises Refusal if it does not wait."""
    manifest = journal.load(logs, id)
    if journal.state_of(logs, id) != "proposed":
        raise Refusal(f"the repair {id} does not wait for approval")
    journal.set_state(logs, id, "rejected")
    record.remember(logs, _key(manifest), f"it was rejected as {id}: {redact(reason)[:500]}")
    _record_change(logs, manifest, "rejected", reason)


def keep(id: str, *, logs: str) -> None:
    """The component came back healthy: let its patch stay. Raises Refusal unless it is applied."""
    record.forget(logs, _key(transaction.keep(logs, id)))


def rollback(
    id: str, *, logs: str, reason: str = "the component did not come back healthy"
) -> tuple[str, ...]:
    """Give all files of a patch their bytes and modes back; may be repeated, also after ``keep``.

    Returns the paths of files that somebody else had changed since; what they held is kept in
    ``repairs/<id>/found/``. Raises Refusal if it was never applied, OSError if the disk refuses:
    then the next :func:`recover` finishes it.
    """
    before = journal.state_of(logs, id)
    manifest, foreign = transaction.rollback(logs, id)
    after = journal.state_of(logs, id)
    if after != before:
        status: record.PatchStatus = "reverted" if after == "reverted" else "rolled_back"
        record.remember(logs, _key(manifest), f"it was undone as {id}: {redact(reason)[:500]}")
        _record_change(logs, manifest, status, reason)
    return foreign


def recover(logs: str) -> list[str]:
    """After a crash: undo every patch that was not kept; returns their ids.

    To be called before anything is started, by the only supervisor of the mission. Raises
    UnfinishedError if something could not be undone; whatever could be has been.
    """
    undone: list[str] = []
    try:
        undone = transaction.recover(logs)
    except transaction.UnfinishedError as unfinished:
        undone = unfinished.undone
        raise
    finally:
        for id in undone:
            _record_change(logs, journal.load(logs, id), "rolled_back", UNPROVEN)
    return undone
