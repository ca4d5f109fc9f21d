"""The recovery loop: a failure is handed over, its patch goes on trial, and is kept or undone.

The engine decides when (RequestRepair, SettleRepair, CancelRepair); this carries it out, one thing after
the other for each component, and answers with events. Other components go on meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from razar.engine import effects, events
from razar.projections.wording import Level
from razar.utils.redaction import one_line

if TYPE_CHECKING:
    from agents.razar.handover import Attempt, Exhausted, Handovers
    from agents.razar.patching.journal import Manifest

__all__ = ["RecoveryManager", "worth_asking"]

#: Any of these variables configures an agent.
_CONFIGURES = (
    "KIMI2_ENDPOINT",
    "AIRSTAR_ENDPOINT",
    "RSTAR_ENDPOINT",
    "OPENCODE_BIN",
    "OPENCODE_BACKEND",
    "RAZAR_ACP_COMMAND",
)


def worth_asking(environ: Mapping[str, str], ladder: tuple[str, ...] | None) -> bool:
    """Whether anybody could be asked about a component that says nothing of repair itself."""
    return bool(ladder) or any(environ.get(name, "").strip() for name in _CONFIGURES)


class RecoveryManager:
    """Carries out the engine's wishes for repair.

    ``open`` makes the handovers when the first failure needs them: nothing of them is imported before.
    ``retry`` makes one attempt that is told of the ones before.
    ``tail`` gives the last lines of a component's log; ``rebuild`` builds the environment of a layer anew
    and returns why it could not.
    """

    def __init__(
        self,
        open: Callable[[], Handovers],
        retry: Callable[..., Awaitable[Attempt]],
        *,
        logs: str,
        report: Callable[[events.Event], None],
        say: Callable[[Level, str], None],
        tail: Callable[[str], tuple[str, ...]],
        rebuild: Callable[[str], Awaitable[str | None]],
        traceparent: Callable[[str], str | None],
    ) -> None:
        self._open = open
        self._retry = retry
        self._logs = logs
        self._report = report
        self._say = say
        self._tail = tail
        self._rebuild = rebuild
        self._traceparent = traceparent
        self._handovers: Handovers | None = None
        #: The last piece of work of each component; the next one waits for it.
        self._last: dict[str, asyncio.Task[None]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        #: Patches that are in place and not judged for good, and those an operator is asked about.
        self._trials: dict[str, Attempt] = {}
        self._kept: set[str] = set()
        self._awaiting: dict[str, tuple[str, int]] = {}
        #: Patches an operator's decision about which is being carried out.
        self._deciding: set[str] = set()

    # -- what the engine wishes -------------------------------------------------------------------

    def carry_out(self, effect: effects.RequestRepair | effects.CancelRepair | effects.SettleRepair) -> None:
        """Begin to do it; returns at once."""
        match effect:
            case effects.RequestRepair(component, incarnation, error):
                # Read now: by the time the repair begins, the log may belong to the next incarnation.
                tail, at = self._tail(component), time.time()
                self._asking[component] = self._after(
                    component, lambda: self._hand_over(component, incarnation, error, tail, at)
                )
            case effects.CancelRepair(component):
                asking = self._asking.pop(component, None)
                if asking is not None:
                    asking.cancel()
                self._awaiting = {
                    patch: (other, incarnation)
                    for patch, (other, incarnation) in self._awaiting.items()
                    if other != component
                }
            case effects.SettleRepair(component, _, patch, held, reason):
                self._after(component, lambda: self._settle(patch, held, reason))

    def _after(self, component: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        previous = self._last.get(component)

        async def run() -> None:
            if previous is not None:
                await asyncio.wait([previous])
            try:
                await work()
            except Exception as error:  # A defect here must not leave a component between two states.
                self._say("ERROR", f"{component}: repair failed: {type(error).__name__}: {error}")
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"repair of {component} failed", "exception": error}
                )

        task = self._last[component] = asyncio.create_task(run())
        return task

    async def _hand_over(
        self, component: str, incarnation: int, error: str, tail: tuple[str, ...], at: float
    ) -> None:
        """Ask until there is a patch to try, an operator to wait for, or nobody left to ask."""
        from agents.razar.attempts import Exhausted

        try:
            waiting = await _waiting(self._logs, component)
            if waiting is not None:
                self._await_operator(component, incarnation, waiting)
                return
            while True:
                attempt = await self._retry(
                    component,
                    error,
                    handovers=self._with(),
                    tail=tail,
                    at=at,
                    traceparent=self._traceparent(component),
                )
                self._tell(attempt)
                if attempt.outcome == "applied" and await self._is_ready(attempt):
                    assert attempt.patch_id is not None
                    self._trials[attempt.patch_id] = attempt
                    self._report(events.RepairFinished(component, incarnation, True, patch=attempt.patch_id))
                    return
                if attempt.outcome == "proposed":
                    await self._propose(attempt, incarnation)
                    return
                await asyncio.sleep(attempt.wait)
        except Exhausted as end:
            reason = await self._give_up(component, end)
        except Exception as fault:
            self._report(
                events.RepairFinished(component, incarnation, False, f"{type(fault).__name__}: {fault}")
            )
            raise
        self._report(events.RepairFinished(component, incarnation, False, reason))

    def _tell(self, attempt: Attempt) -> None:
        """Say what an attempt brought; a patch is shown whole, before it is seen at work."""
        who = f"{attempt.component}: {attempt.agent}" if attempt.agent else attempt.component
        if attempt.outcome in ("applied", "proposed"):
            self._say("INFO", f"{who} has a patch, {one_line(attempt.reason)}:")
            for line in attempt.diff.splitlines():
                self._say("INFO", f"    | {one_line(line)}")
        else:
            then = f"; the next attempt follows in {attempt.wait:.3g} s" if attempt.wait else ""
            self._say("WARN", f"{who}: {one_line(attempt.reason)}{then}")
        if attempt.outcome == "applied":
            self._say("INFO", f"{attempt.component}: repair {attempt.patch_id} is in place, on trial")

    async def _give_up(self, component: str, end: Exhausted) -> str:
        """Leave the operator all that is known; return the reason."""
        if end.kind not in ("ladder", "class", "proposal"):
            return str(end)
        folder = await asyncio.to_thread(self._with().packet, component)
        return f"{end}; all that is known is in {os.path.relpath(folder, os.path.dirname(self._logs))}"

    async def _propose(self, attempt: Attempt, incarnation: int) -> None:
        """A verified patch that may not be applied: ask the operator, or only show it."""
        component = attempt.component
        waiting = await _waiting(self._logs, component)
        if waiting is not None and waiting.id == attempt.patch_id:
            self._await_operator(component, incarnation, waiting)
        else:
            self._report(events.RepairFinished(component, incarnation, False, attempt.reason))

    def _await_operator(self, component: str, incarnation: int, waiting: Manifest) -> None:
        self._awaiting[waiting.id] = (component, incarnation)
        self._report(events.RepairAwaits(component, incarnation, waiting.id))

    async def _is_ready(self, attempt: Attempt) -> bool:
        """Build the environment that a repair changed; undo the repair if that cannot be done."""
        if attempt.rebuild_layer is None:
            return True
        fault: str | None = "it was called off"
        try:
            fault = await self._rebuild(attempt.rebuild_layer)
        finally:
            if fault is not None:
                await self._with().settle(attempt, False, fault)
        return fault is None

    async def _settle(self, patch: str, held: bool, error: str | None) -> None:
        attempt = self._trials.get(patch)
        if attempt is None:
            return
        if held:
            self._kept.add(patch)
        else:
            del self._trials[patch]
        if not await self._with().settle(attempt, held, error):
            pass  # Why, and what to do about it, has been told.
        elif held:
            self._say("INFO", f"{attempt.component}: repair {patch} held; it is kept")
        else:
            self._say("WARN", f"{attempt.component}: repair {patch} is undone: {one_line(error or '')}")
        if not held and attempt.rebuild_layer is not None:
            fault = await self._rebuild(attempt.rebuild_layer)
            if fault is not None:
                self._say("WARN", f"environment {attempt.rebuild_layer}: {fault}")

    def _with(self) -> Handovers:
        if self._handovers is None:
            self._handovers = self._open()
        return self._handovers

    # -- what an operator decides -----------------------------------------------------------------

    async def approve(self, patch: str) -> tuple[str, bool]:
        """Apply a patch that waits; return its component, and whether that is relaunched with it.

        One of an earlier boot, whose component nobody is waiting for now, is applied and kept. Raises
        Refusal.
        """
        from agents.razar.patching import decisions, journal

        with self._decision(patch):
            waiting = self._awaiting.get(patch)
            if waiting is None:
                manifest = await asyncio.to_thread(_apply_and_keep, self._logs, patch)
                return manifest.component, False
            component, _ = waiting
            try:
                await asyncio.to_thread(decisions.approve, patch, logs=self._logs)
            except Exception as fault:
                if journal.state_of(self._logs, patch) != "proposed":  # Nobody can decide about it any more.
                    self._decided(patch, False, str(fault))
                raise
            attempt = self._with().approved(patch)
            # It takes minutes to build an environment, in which the component may be stopped or restarted.
            ready = patch not in self._awaiting or await self._is_ready(attempt)
            if patch in self._awaiting and ready:
                self._trials[patch] = attempt
                self._decided(patch, True)
                return component, True
            if ready:
                await self._with().settle(attempt, True)
            return component, self._decided(patch, False, "its environment cannot be built")

    @contextmanager
    def _decision(self, patch: str) -> Iterator[None]:
        """One decision at a time about one patch."""
        from agents.razar.patching.refusal import Refusal

        if patch in self._deciding:
            raise Refusal(
                f"another decision about the repair {patch} is being carried out; see what becomes of it"
            )
        self._deciding.add(patch)
        try:
            yield
        finally:
            self._deciding.discard(patch)

    def _decided(self, patch: str, patched: bool, reason: str | None = None) -> bool:
        """Tell the component that waits what was decided; False if it no longer waits."""
        waiting = self._awaiting.pop(patch, None)
        if waiting is None:
            return False
        self._report(
            events.RepairFinished(*waiting, patched, reason=reason, patch=patch if patched else None)
        )
        return True

    async def reject(self, patch: str, reason: str) -> str:
        """Turn a waiting patch down; return its component. Raises Refusal."""
        from agents.razar.patching import decisions, journal

        component = journal.load(self._logs, patch).component
        with self._decision(patch):
            await asyncio.to_thread(decisions.reject, patch, logs=self._logs, reason=reason)
            self._decided(patch, False, reason)
        return component

    async def rollback(self, patch: str, reason: str) -> tuple[str, tuple[str, ...]]:
        """Undo a patch; return its component and the files that somebody else had changed. Raises Refusal."""
        from agents.razar.patching import decisions, journal

        component = journal.load(self._logs, patch).component
        with self._decision(patch):
            trial = self._trials.pop(patch, None)
            try:
                foreign = await asyncio.to_thread(decisions.rollback, patch, logs=self._logs, reason=reason)
            except BaseException:
                if trial is not None:
                    self._trials[patch] = trial
                raise
        return component, foreign

    async def finish(self, component: str) -> None:
        """Wait until what the engine has wished for a component so far is done, but for a hand-over."""
        last = self._last.get(component)
        if last is not None and last is not self._asking.get(component):
            await asyncio.wait([last])

    # -- begin and end ----------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Load everything that a hand-over needs: it takes longer than the hand-over itself."""
        from agents.razar import parts

        await asyncio.to_thread(parts.load, (*parts.ASKING, *parts.ANSWERING))
        await self._with().prepare()

    async def recover(self, *, after_crash: bool) -> None:
        """Undo what an earlier supervisor left neither kept nor undone; to be called before anything is started.

        After a clean end that is only what it could not undo. What resists is told, and stops no boot.
        """
        if not os.path.isdir(os.path.join(self._logs, "repairs")):
            return
        try:
            if after_crash or await asyncio.to_thread(_anything_open, self._logs):
                await asyncio.to_thread(self._with().recover)
        except OSError as fault:
            what = f"{fault.filename}: " if isinstance(fault.filename, str) else ""
            self._say(
                "ERROR",
                f"what an earlier RAZAR left of repairs could not be seen to: {what}{fault.strerror or fault}; "
                "see `razar repairs list` for what is still applied",
            )

    async def close(self) -> None:
        """End what is under way; a patch that has not been judged is undone."""
        for task in self._asking.values():
            task.cancel()
        if self._last:
            await asyncio.wait(self._last.values())
        for patch in list(self._trials):
            if patch not in self._kept:
                await self._settle(patch, False, "RAZAR ended before the patch had proved itself")
        if self._handovers is not None:
            await self._handovers.close()


async def _waiting(logs: str, component: str) -> Manifest | None:
    """The patch of a component that an operator is still asked about, from this boot or an earlier one."""
    if not os.path.isdir(os.path.join(logs, "repairs")):
        return None
    return await asyncio.to_thread(_find_waiting, logs, component)


def _anything_open(logs: str) -> bool:
    from agents.razar.patching import journal

    return any(journal.is_open(logs, id) for id in journal.known(logs))


def _find_waiting(logs: str, component: str) -> Manifest | None:
    from agents.razar.patching import journal

    for id in reversed(journal.known(logs)):
        if journal.state_of(logs, id) == "proposed":
            manifest = journal.load(logs, id)
            if manifest.waits and manifest.component == component:
                return manifest
    return None


def _apply_and_keep(logs: str, patch: str) -> Manifest:
    from agents.razar.patching import decisions, journal

    decisions.approve(patch, logs=logs)
    decisions.keep(patch, logs=logs)
    return journal.load(logs, patch)
