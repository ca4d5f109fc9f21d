"""A proposal in; a verified change that can be undone out, or a refusal with its reason."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from agents.razar.patching import journal, place, record, scratch, transaction
from agents.razar.patching import policy as patch_policy
from agents.razar.patching.decisions import approve, keep, recover, reject, rollback
from agents.razar.patching.policy import Change, PatchPolicy
from agents.razar.patching.record import FileDigests
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.sandbox import MODES, CommandLimits, CommandRun, Mode, Sandbox, available
from agents.razar.patching.tree import Tree
from agents.razar.proposals.proposal import Proposal
from agents.razar.uninterrupted import to_its_end
from razar.config.model import RepairScope
from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.redaction import redact

__all__ = ["RepairOutcome", "approve", "keep", "recover", "reject", "repair_module", "rollback"]

#: Lines of a failed test's output that its refusal quotes.
_QUOTED_LINES = 15
_QUOTED = 2000


class RepairOutcome(Struct, frozen=True, kw_only=True):
    """What became of a proposal.

    ``applied``: the files are in place; the caller relaunches, probes, and calls ``keep`` or ``rollback``.
    ``proposed``: it passed and waits for ``approve`` (or may only be shown). ``rejected``: nothing was
    changed. ``passing``: the refusal says nothing about the patch, it may be tried again.
    ``protection`` is what the sandbox of the tests had in force; ``proven`` the patched files that the
    tests opened with exactly the patched bytes.
    """

    id: str
    component: str
    status: Literal["proposed", "rejected", "applied"]
    reason: str
    passing: bool = False
    diff: str = ""
    files: tuple[FileDigests, ...] = ()
    tests: tuple[CommandRun, ...] = ()
    protection: dict[str, object] = {}
    proven: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.status == "applied"


class _Trial(Struct, kw_only=True):
    """What is known of a proposal while it is examined."""

    id: str
    component: str
    logs: str
    changes: tuple[Change, ...] = ()
    diff: str = ""
    files: tuple[FileDigests, ...] = ()
    tests: list[CommandRun] = []
    protection: dict[str, object] = {}
    proven: tuple[str, ...] = ()
    prepared: bool = False
    judged: bool = False


async def repair_module(
    component: str,
    proposal: Proposal,
    *,
    root: str,
    scope: RepairScope,
    logs: str,
    policy: PatchPolicy | None = None,
    attempt: int = 1,
    agent: str | None = None,
    seen: Mapping[str, str] | None = None,
    interpreter: str | None = None,
    limits: CommandLimits | None = None,
    copy_limits: scratch.Limits | None = None,
    modes: tuple[Mode, ...] = MODES,
) -> RepairOutcome:
    """Carry a proposal through every check, and apply it if all of them and ``scope.approval`` allow it.

    ``root`` is the mission folder, ``logs`` the folder of its logs. ``seen`` are SHA-256 digests of
    files as the agent was shown them, by path. ``interpreter`` is what ``python`` means in
    ``scope.tests``, default the one that runs this. ``modes`` are the sandboxes that may be used,
    strongest first. Appends one record to ``razar_ai_patches.json``. Needs a running event loop;
    copying and swapping happen in a thread. Never raises for anything a proposal holds; raises
    OSError if the record itself cannot be written.
    """
    policy = policy or PatchPolicy()
    trial = _Trial(id=journal.new_id(), component=component, logs=os.path.abspath(logs))
    python = interpreter or sys.executable
    commands = tuple(
        (python, *test[1:]) if test[:1] in (("python",), ("python3",)) else test for test in scope.tests
    )
    status: Literal["proposed", "rejected", "applied"] = "rejected"
    passing = False
    try:
        if not scope.paths:
            status, reason = "proposed", "the component has no repair.paths, so its files are never changed"
            trial.diff = _shown(proposal)
        else:
            await asyncio.to_thread(_examine, trial, proposal, root, scope, policy, seen)
            mode = await available(modes) if commands else None
            reason = await _verify(trial, root, commands, mode, limits, copy_limits)
            status, reason = await _settle(trial, root, scope, attempt, agent, reason)
    except Refusal as refusal:
        reason, passing = str(refusal), refusal.passing
        if trial.judged and not passing:
            _remember(trial, f"it was rejected as {trial.id}: {redact(reason)[:500]}")
    except OSError as error:
        reason, passing = f"the machine refused: {files.why(error)}", True
    except asyncio.CancelledError:
        if trial.prepared and journal.state_of(trial.logs, trial.id) == "proposed":
            journal.set_state(trial.logs, trial.id, "rejected")
        raise
    finally:
        try:
            await to_its_end(asyncio.to_thread(place.remove, trial.logs, trial.id))
        except asyncio.CancelledError:
            if status == "applied":
                await _take_back(trial)
            raise
        _leave_nothing(trial)
    if status == "rejected" and trial.prepared and journal.state_of(trial.logs, trial.id) == "proposed":
        journal.set_state(trial.logs, trial.id, "rejected")
    outcome = RepairOutcome(
        id=trial.id,
        component=component,
        status=status,
        reason=redact(reason),
        passing=passing,
        diff=record.shortened(redact(trial.diff)),
        files=trial.files,
        tests=tuple(trial.tests),
        protection=trial.protection,
        proven=trial.proven,
    )
    _write_report(trial, outcome)
    try:
        record.log_patch(
            trial.logs,
            component=component,
            attempt=attempt,
            agent=agent,
            id=trial.id,
            status=status,
            reason=reason,
            diff=trial.diff,
            files_changed=trial.files,
            tests=trial.tests,
        )
    except OSError:
        if status == "applied":
            await asyncio.to_thread(transaction.rollback, trial.logs, trial.id)  # No change without a record.
        raise
    return outcome


def _work(trial: _Trial) -> str:
    return os.path.join(journal.folder_of(trial.logs, trial.id), "work")


def _leave_nothing(trial: _Trial) -> None:
    """Remove the folder of a proposal that came to nothing, unless something is in it."""
    try:
        os.rmdir(os.path.dirname(_work(trial)))
    except OSError:
        pass


def _shown(proposal: Proposal) -> str:
    """A proposal that may not be applied, as readable as it can be without looking at any file."""
    parts = []
    for edit in proposal.edits[:50]:
        removed = [f"-{line}" for line in (edit.old or "").splitlines()]
        added = [f"+{line}" for line in (edit.new or edit.content or "").splitlines()]
        parts += [f"--- {edit.path!a}", f"+++ {edit.path!a}", *removed, *added]
        if sum(map(len, parts)) > record.DIFF_LIMIT:
            break
    return "\n".join(parts) + "\n"


def _examine(
    trial: _Trial,
    proposal: Proposal,
    root: str,
    scope: RepairScope,
    policy: PatchPolicy,
    seen: Mapping[str, str] | None,
) -> None:
    with Tree(root) as tree:
        trial.changes = patch_policy.changes(
            proposal, tree, paths=scope.paths, tests=scope.tests, policy=policy, seen=seen, logs=trial.logs
        )
    trial.diff = patch_policy.diff_of(trial.changes)
    trial.files = tuple(
        FileDigests(path=change.path, sha256_before=change.sha256_before, sha256_after=change.sha256_after)
        for change in trial.changes
    )
    before = record.tried(trial.logs, record.key_of(trial.component, trial.files))
    if before is not None:
        raise Refusal(f"this very patch was seen before: {before}")


async def _verify(
    trial: _Trial,
    root: str,
    commands: tuple[tuple[str, ...], ...],
    mode: Mode | None,
    limits: CommandLimits | None,
    copy_limits: scratch.Limits | None,
) -> str:
    """Run the tests on a copy; returns what they show. Raises Refusal if they do not pass."""
    if mode is None:
        return "it parses; there are no repair.tests, so only the component's probe can tell more"
    box = await _patched_copy(trial, root, mode, limits, copy_limits)
    opened: set[str] = set()
    for command in commands:
        run = await box.run(command)
        trial.tests.append(run)
        trial.protection = box.protection
        trial.judged = True
        opened.update(run.opened)
        if not run.passed:
            raise Refusal(await _why_failed(trial, run, command, root, mode, limits, copy_limits))
    altered = await asyncio.to_thread(scratch.altered, box.scratch, trial.changes)
    if altered:
        raise Refusal(f"the tests changed {_names(altered)}, so they prove nothing about the patch")
    missed = [change.path for change in trial.changes if change.path not in opened]
    if missed:
        raise Refusal(f"no test opened {_names(missed)}, so they prove nothing about the patch")
    trial.proven = tuple(change.path for change in trial.changes)
    count = f"{len(commands)} test{'s' if len(commands) > 1 else ''}"
    network = trial.protection["network"]
    return f"{count} passed ({mode}, network: {network}) and opened the patched {_names(trial.proven)}"


def _names(paths: Iterable[str]) -> str:
    return ", ".join(map(ascii, paths))


async def _patched_copy(
    trial: _Trial,
    root: str,
    mode: Mode,
    limits: CommandLimits | None,
    copy_limits: scratch.Limits | None,
    *,
    patched: bool = True,
) -> Sandbox:
    def make() -> str:
        where = place.choose(trial.logs, trial.id, copy_limits or scratch.Limits())
        target = os.path.join(where, "patched" if patched else "unpatched")
        scratch.export(root, target, leave_out=[trial.logs], limits=copy_limits)
        if patched:
            scratch.lay(target, trial.changes)
        return target

    target = await asyncio.to_thread(make)
    return Sandbox(
        root=root,
        scratch=target,
        work=_work(trial),
        mode=mode,
        limits=limits,
        logs=trial.logs,
        watched=[change.path for change in trial.changes] if patched else (),
    )


async def _why_failed(
    trial: _Trial,
    run: CommandRun,
    command: tuple[str, ...],
    root: str,
    mode: Mode,
    limits: CommandLimits | None,
    copy_limits: scratch.Limits | None,
) -> str:
    """Say how a test failed, and whether the patch is to blame: the same test without it tells."""
    how = "did not end in time" if run.exit is None else f"exited with {run.exit}"
    box = await _patched_copy(trial, root, mode, limits, copy_limits, patched=False)
    baseline = await box.run(command)
    blame = "it passes without the patch" if baseline.passed else "it fails without the patch too"
    lines = [line for line in run.output.splitlines() if line.strip()][-_QUOTED_LINES:]
    quoted = redact("\n".join(lines))[-_QUOTED:]
    return f"the test {run.command!r} {how}; {blame}" + (f":\n{quoted}" if quoted else "")


async def _settle(
    trial: _Trial, root: str, scope: RepairScope, attempt: int, agent: str | None, shown: str
) -> tuple[Literal["proposed", "applied"], str]:
    """Apply a verified patch, or put it by, or only show it."""
    if scope.approval == "never":
        _remember(trial, "it was shown; approval is set to never")
        return "proposed", f"verified, and only shown (approval is set to never): {shown}"
    waits = scope.approval == "ask"
    # Else its thread would go on, and leave a patch that waits for approval and that nobody knows of.
    await to_its_end(asyncio.to_thread(_prepare, trial, root, attempt, agent, waits))
    if waits:
        _remember(trial, f"it waits for approval as {trial.id}")
        return "proposed", f"verified, waits for approval: {shown}"
    await _swap(trial)
    return "applied", f"verified: {shown}"


async def _swap(trial: _Trial) -> None:
    """Put the files in place. If the caller is cancelled meanwhile nobody will judge them: undone."""
    swap = asyncio.ensure_future(asyncio.to_thread(transaction.apply, trial.logs, trial.id))
    try:
        await asyncio.shield(swap)
    except asyncio.CancelledError:
        await asyncio.wait([swap])
        if swap.exception() is None:
            await _take_back(trial)
        raise


async def _take_back(trial: _Trial) -> None:
    await to_its_end(asyncio.to_thread(transaction.rollback, trial.logs, trial.id))


def _prepare(trial: _Trial, root: str, attempt: int, agent: str | None, waits: bool) -> None:
    journal.prepare(
        trial.logs,
        trial.id,
        trial.component,
        root,
        trial.changes,
        diff=record.shortened(redact(trial.diff)),
        attempt=attempt,
        agent=agent,
        waits=waits,
    )
    trial.prepared = True


def _remember(trial: _Trial, what: str) -> None:
    record.remember(trial.logs, record.key_of(trial.component, trial.files), what)


def _write_report(trial: _Trial, outcome: RepairOutcome) -> None:
    """Leave the whole outcome, with what the tests printed, beside the journal of the transaction."""
    folder = journal.folder_of(trial.logs, trial.id)
    if not trial.prepared and not trial.tests:
        return
    try:
        os.makedirs(folder, mode=0o750, exist_ok=True)
        files.replace(os.path.join(folder, "report.json"), encode_json(outcome))
    except OSError:
        pass  # The record in the log of patches says the same in short.
