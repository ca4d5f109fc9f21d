"""What is written down about an attempt, and what becomes of the files it changed."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec

from agents.razar import code_repair
from agents.razar.attempts import Attempt, Say
from agents.razar.escalation.ladder import LOCAL, MEMORY
from agents.razar.patching import decisions, journal, transaction
from agents.razar.patching.refusal import Refusal
from agents.razar.records.remembered import Remembered
from agents.razar.records.trail import Trail
from agents.razar.uninterrupted import to_its_end
from razar import metrics
from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.redaction import redact

__all__ = ["Settlement"]

LONG_TASK = "razar_long_task.json"
#: Beside the journal of a patch: the attempt it belongs to.
_ATTEMPT = "attempt.json"


class Settlement:
    """Ends attempts, each exactly once."""

    def __init__(
        self,
        logs: str,
        trail: Trail,
        memory: Remembered,
        say: Say,
        *,
        long_task: bool,
    ) -> None:
        self._logs = logs
        self._trail = trail
        self._memory = memory
        self._say = say
        self._long_task = long_task
        self._open: dict[str, Attempt] = {}
        #: Kept, and still on trial: the component has to stay healthy for a while.
        self._held: dict[str, Attempt] = {}
        #: What could not be kept or undone, and whether it was to be kept: tried once more at the end.
        self._stuck: dict[str, tuple[Attempt, bool]] = {}

    def open(self, attempt: Attempt) -> None:
        """Take an attempt that was made. One that changed files stays open, any other is recorded."""
        if attempt.event != "attempt":
            return
        if attempt.outcome == "applied" and attempt.patch_id is not None:
            self._open[attempt.patch_id] = attempt
        else:
            self._record(attempt, patched=False, reason=attempt.reason)
        if attempt.patch_id is not None and attempt.repair is not None:
            self._note(attempt)

    def adopt(self, id: str) -> Attempt:
        """Take a patch that an operator has approved: it is settled like any other. Raises Refusal."""
        manifest = journal.load(self._logs, id)
        attempt = self._noted(id)
        if attempt is None:
            attempt = Attempt(
                component=manifest.component,
                number=manifest.attempt,
                agent=manifest.agent or "",
                outcome="applied",
                reason="approved by the operator",
                error="",
                patch_id=id,
            )
        # What was only proposed needed no environment; what is in place now does.
        repair = attempt.repair or {}
        layer = repair.get("layer") if repair.get("kind") == "dependency" else None
        self._open[id] = attempt = msgspec.structs.replace(
            attempt, outcome="applied", patch_id=id, rebuild_layer=layer
        )
        return attempt

    def aborted(self, component: str, number: int, error: str) -> None:
        """An attempt was interrupted; only the log of long tasks is told of those."""
        if self._long_task:
            self._log_long_task(component, number, error, patched=False, aborted=True)

    async def settle(self, attempt: Attempt, held: bool, reason: str | None) -> bool:
        """Keep or undo what an attempt applied, and record it, uninterrupted.

        False if the files refused, which people were told then. It is tried again at the end, and what
        is neither kept nor undone even then is undone by the next start.
        """
        id = attempt.patch_id
        if id is None:
            return True
        if self._open.pop(id, None) is not None:
            await to_its_end(self._settle(attempt, held, reason))
        elif not held and (self._held.pop(id, None) is not None or self._is_unkept(id)):
            await to_its_end(self._revert(attempt, reason or "the component did not stay healthy"))
        return id not in self._stuck

    def _is_unkept(self, id: str) -> bool:
        """Whether it was to be kept and could not be: now it need not be any more."""
        _, to_be_kept = self._stuck.get(id, (None, False))
        if to_be_kept:
            del self._stuck[id]
        return to_be_kept

    async def close(self) -> None:
        """Undo what is open, and try once more what did not work."""
        for attempt in list(self._open.values()):
            await self.settle(attempt, False, "RAZAR stopped before the repair had proved itself")
        for attempt, held in list(self._stuck.values()):
            await to_its_end(self._try_again(attempt, held))

    def recover(self) -> list[str]:
        """Undo what an earlier RAZAR left open, and record it; return the ids. What resists is told."""
        try:
            undone = code_repair.recover(self._logs)
        except transaction.UnfinishedError as unfinished:
            undone = unfinished.undone
            for id, why in unfinished.stuck.items():
                self._say("ERROR", _not_undone(f"the repair {id}", id, why))
        for id in undone:
            attempt = self._noted(id)
            if attempt is not None:
                self._record(attempt, patched=False, reason=decisions.UNPROVEN)
            self._say("WARN", f"the repair {id} was undone: {decisions.UNPROVEN}")
        return undone

    async def _settle(self, attempt: Attempt, held: bool, reason: str | None) -> None:
        assert attempt.patch_id is not None
        why = attempt.reason if held else reason or "the component did not come back healthy"
        try:
            if held:
                await asyncio.to_thread(code_repair.keep, attempt.patch_id, logs=self._logs)
                self._held[attempt.patch_id] = attempt
            else:
                await self._undo(attempt, why)
        except (OSError, Refusal) as fault:
            why = f"{why}; {self._refused(attempt, held, fault)}"
            held = False
        self._record(attempt, patched=held, reason=why)
        await self._memory.settled(attempt.fingerprint, attempt.repair, held)

    async def _revert(self, attempt: Attempt, why: str) -> None:
        """It came back healthy, was kept, and failed soon after: that was no repair."""
        try:
            await self._undo(attempt, why)
        except (OSError, Refusal) as fault:
            why = f"{why}; {self._refused(attempt, False, fault)}"
        self._trail.reverted(
            attempt.component, attempt.number, attempt.error, attempt.agent, why, attempt.patch_id
        )
        await self._memory.settled(attempt.fingerprint, attempt.repair, False)

    def _refused(self, attempt: Attempt, held: bool, fault: OSError | Refusal) -> str:
        """Remember and tell that a patch could not be kept or undone; return that in short."""
        assert attempt.patch_id is not None
        self._stuck[attempt.patch_id] = (attempt, held)
        why, what = transaction.said(fault), f"{attempt.component}: repair {attempt.patch_id}"
        self._forget(attempt.patch_id)
        if held:
            self._say(
                "ERROR",
                f"{what} held and could not be kept: {why}; mend that before RAZAR ends, which tries once "
                "more; otherwise its next start undoes the repair",
            )
            return f"the repair could not be kept: {why}"
        self._say("ERROR", _not_undone(what, attempt.patch_id, why))
        return f"the repair could not be undone: {why}"

    async def _try_again(self, attempt: Attempt, held: bool) -> None:
        """At the end; its outcome is recorded already."""
        assert attempt.patch_id is not None
        try:
            if journal.is_open(self._logs, attempt.patch_id):  # Else the operator has seen to it.
                if held:
                    await asyncio.to_thread(code_repair.keep, attempt.patch_id, logs=self._logs)
                else:
                    await self._undo(attempt, "the component did not stay healthy")
                done = "kept" if held else "undone"
                self._say("WARN", f"{attempt.component}: repair {attempt.patch_id} is {done} after all")
            del self._stuck[attempt.patch_id]
        except (OSError, Refusal):
            pass  # People know; the next start undoes it.

    async def _undo(self, attempt: Attempt, why: str) -> None:
        assert attempt.patch_id is not None
        foreign = await asyncio.to_thread(code_repair.rollback, attempt.patch_id, logs=self._logs, reason=why)
        for path in foreign:
            self._say(
                "WARN",
                f"{attempt.component}: {path} had been changed by somebody else; what it held is in "
                f"{os.path.join(self._logs, 'repairs', attempt.patch_id, 'found')}",
            )

    def _record(self, attempt: Attempt, *, patched: bool, reason: str) -> None:
        self._trail.attempt(
            attempt.component,
            attempt.number,
            attempt.error,
            agent=attempt.agent,
            patched=patched,
            reason=reason,
            patch_id=attempt.patch_id,
            seconds=attempt.seconds,
            tokens=attempt.tokens,
        )
        if attempt.agent not in (MEMORY, LOCAL):
            outcome = "patched" if patched else "failed" if attempt.outcome == "failed" else "rejected"
            metrics.DEFAULT.observe("razar_handover_seconds", (attempt.agent, outcome), attempt.asked)
        if self._long_task:
            self._log_long_task(
                attempt.component, attempt.number, attempt.error, patched=patched, aborted=False
            )

    def _log_long_task(
        self, component: str, number: int, error: str, *, patched: bool, aborted: bool
    ) -> None:
        record = {
            "component": component,
            "attempt": number,
            "error": redact(error)[:8000],
            "patched": patched,
            "aborted": aborted,
            "timestamp": time.time(),
        }
        try:
            os.makedirs(self._logs, mode=0o750, exist_ok=True)
            files.append_line(os.path.join(self._logs, LONG_TASK), encode_json(record))
        except OSError as fault:
            self._say("WARN", f"{LONG_TASK} cannot be written: {files.why(fault)}")

    def _note(self, attempt: Attempt) -> None:
        """Leave the attempt beside its patch, for whoever approves it or comes after a crash."""
        assert attempt.patch_id is not None
        folder = journal.folder_of(self._logs, attempt.patch_id)
        kept = msgspec.structs.replace(
            attempt, error=redact(attempt.error)[:8000], reason=redact(attempt.reason)[:8000], diff=""
        )
        try:
            if os.path.isdir(folder):
                files.replace(os.path.join(folder, _ATTEMPT), encode_json(kept), sync=False)
        except OSError:
            pass  # The log of patches has its diff and reason all the same.

    def _forget(self, id: str) -> None:
        """The attempt is recorded: whoever undoes its patch later must not record it once more."""
        try:
            os.unlink(os.path.join(journal.folder_of(self._logs, id), _ATTEMPT))
        except OSError:
            pass

    def _noted(self, id: str) -> Attempt | None:
        try:
            data = files.read_limited(os.path.join(journal.folder_of(self._logs, id), _ATTEMPT), 8 << 20)
            return msgspec.json.decode(data or b"", type=Attempt)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None


def _not_undone(what: str, id: str, why: str) -> str:
    return (
        f"{what} could not be undone: {why}; its files may still hold the patch. Mend that, then "
        f"`razar repairs rollback {id}`; RAZAR tries again at its end and at its next start"
    )
