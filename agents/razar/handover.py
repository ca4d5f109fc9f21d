"""From a failure to one repair that was applied, proposed or refused; and what became of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agents.razar.attempts import Attempt, Exhausted, Failure, Say
from agents.razar.case import Case
from agents.razar.disclosure.known_secrets import learn_secrets
from agents.razar.escalation.breaker import Breakers
from agents.razar.escalation.budgets import Budget, limits_of
from agents.razar.escalation.ladder import threshold_of
from agents.razar.escalation.storm import Storm, StormLimits
from agents.razar.escalation.switches import paused
from agents.razar.records.remembered import Memory, Remembered
from agents.razar.records.trail import Trail
from agents.razar.settings import Settings
from agents.razar.steps import Steps
from agents.razar.worth import issue_of
from razar.config.model import Component, MissionConfig
from razar.issues.classes import Issue
from razar.issues.known_by import known_by
from razar.tracing import HANDOVER, NO_SPAN, Span

if TYPE_CHECKING:
    from agents.razar.agent import RepairAgent
    from agents.razar.records.settling import Settlement

__all__ = ["Attempt", "Exhausted", "Failure", "Handovers", "Memory"]

#: Lines at the end of a component's log that are looked at, and characters of each, and of an error.
LINES = 400
LINE = 8_000
ERROR = 64_000


def _chance() -> float:
    """Draw from [0, 1)."""
    return int.from_bytes(os.urandom(6), "big") / 2.0**48


def _no_span(name: str, parent: Span | None = None, **attributes: object) -> Span:
    return NO_SPAN


class Handovers:
    """The repairs of one mission: owns budgets, breakers, locks, ladder, memory and records.

    One instance for the life of a boot; any number of components may be repaired at the same time,
    each by one caller. The caller's loop is: ``attempt``; if it applied something, rebuild the layer it
    names, relaunch, probe and ``settle``; else wait ``attempt.wait`` seconds; until a repair held or
    Exhausted is raised. Then ``packet``, and quarantine.
    """

    def __init__(
        self,
        config: MissionConfig,
        *,
        logs: str,
        environ: Mapping[str, str],
        attempts: int | None = None,
        long_task: bool = False,
        interpreter: Callable[[str], str | None] = lambda layer: None,
        memory: Callable[[], Memory | None] | None = None,
        say: Say = lambda level, text: None,
        agents: Sequence[RepairAgent] | None = None,
        span: Callable[..., Span] | None = None,
        environments: str | None = None,
        probe: bool = True,
        builds: bool = True,
        first: str | None = None,
        budget: Budget | None = None,
        breakers: Breakers | None = None,
        storm: StormLimits | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = _chance,
    ) -> None:
        """Nothing is opened or imported for good before the first failure.

        ``attempts`` is that of the command line and wins over ``repair.attempts``. ``interpreter`` gives
        the Python of a layer. ``memory`` opens the memory, in a thread. ``say(level, text)`` tells people.
        ``agents`` None: those that the environment configures. ``span`` starts a span as
        ``BootTrace.child`` does. ``environments`` is the path of razar_env.yaml. ``probe`` False: no
        relaunch and probe will judge a patch, so only its tests can. ``builds`` False: the caller cannot
        build layers anew, so a dependency is only proposed. ``first`` is asked before all other agents.
        ``budget`` and ``breakers`` may outlive one instance.
        """
        self._config = config
        self._logs = os.path.abspath(logs)
        self._long_task = long_task
        self._say = say
        self._start = span or _no_span
        self._clock = clock
        self._components = {component.id: component for component in config.components}
        learn_secrets(config, environ)
        threshold, problem = threshold_of(environ)
        if problem is not None:
            say("WARN", problem)
        self.budget = budget or Budget(limits_of(config.repair.budget))
        self._slots = asyncio.Semaphore(self.budget.limits.concurrent)
        self._storm = Storm(len(self._components), storm)
        self._trail = Trail(self._logs)
        self._memory = Remembered(memory, say)
        self._fingerprints: dict[str, tuple[float, str | None]] = {}
        self._last: dict[str, Failure] = {}
        self._settlement_: Settlement | None = None
        settings = Settings(
            config=config,
            logs=self._logs,
            environ=environ,
            attempts=config.repair.attempts if attempts is None else attempts,
            threshold=threshold,
            long_task=long_task,
            interpreter=interpreter,
            memory=self._memory,
            say=say,
            agents=agents,
            environments=environments or os.path.join(config.root, "razar_env.yaml"),
            probe=probe,
            builds=builds and probe,
            first=first,
            budget=self.budget,
            breakers=breakers or Breakers(),
            trail=self._trail,
            clock=clock,
            chance=chance,
            check=self._check_pause,
        )
        self._steps = Steps(settings)

    async def prepare(self) -> None:
        """Open the memory and make the agents ahead of the first failure, which then need not wait for it."""
        await self._memory.open()
        self._steps.prepare()

    async def attempt(self, failure: Failure, context: Mapping[str, Any] | None = None) -> Attempt:
        """Make one attempt to repair a component; raise Exhausted if none is worth it.

        ``context`` goes into what an agent is told; its ``history`` is that of build_failure_context.
        May be cancelled at any instant: the files are then as they were.
        """
        component = self._component(failure.component)
        failure = self._last[component.id] = _bounded(failure)
        self._check_pause()
        if self._storm.note(component.id, failure.at):
            self._say("ERROR", self._storm.over_in(failure.at)[1])
        span = self._start(HANDOVER, component=component.id)
        number, began = 0, time.monotonic()
        try:
            series = await asyncio.to_thread(self._trail.series, component.id)
            number = series.next_number
            seconds, why = self._storm.over_in(self._clock())
            if seconds:
                return _wait(failure, number, seconds, why)
            issue = issue_of(failure.error, failure.tail)
            # The memory mostly waits for the disk.
            fingerprint, _ = await asyncio.gather(
                self._fingerprint(failure, issue), asyncio.to_thread(self._steps.load)
            )
            case = Case(
                component=component,
                failure=failure,
                issue=issue,
                series=series,
                number=number,
                fingerprint=fingerprint,
                context=dict(context or {}),
                span=span,
                start=self._start,
            )
            async with self._slots:
                attempt = await self._steps.take(case)
            # From here to the end nothing may be awaited: the caller must learn of files that were changed.
            attempt = replace(attempt, seconds=time.monotonic() - began)
            span.set("razar.agent", attempt.agent)
            span.set("razar.outcome", attempt.outcome)
            self._settlement.open(attempt)
            return attempt
        except Exhausted as end:
            span.set("razar.outcome", "exhausted")
            span.fail(end.reason)
            if end.kind in ("ladder", "class", "proposal"):
                self._trail.end(component.id, max(1, number - 1), failure.error, end.reason)
            raise
        except asyncio.CancelledError:
            self._settlement.aborted(component.id, number, failure.error)
            raise
        finally:
            span.end()

    async def settle(self, attempt: Attempt, held: bool, reason: str | None = None) -> bool:
        """The component was relaunched and probed: keep what was applied, or undo it; and record it.

        Goes on to its end even if it is cancelled. After ``held`` False the layer in ``rebuild_layer``
        must be built again. What was not applied was recorded by ``attempt``; nothing happens then.
        False if the files refused to be kept or undone, which ``say`` was told.
        """
        return await self._settlement.settle(attempt, held, reason)

    def approved(self, patch: str) -> Attempt:
        """An operator has approved a patch, which is in place: settle it as if ``attempt`` had applied it."""
        return self._settlement.adopt(patch)

    def packet(self, component: str) -> str:
        """Write down all that was tried, for the operator; return the folder. Raises OSError."""
        from agents.razar.records.packet import write_packet

        return write_packet(
            self._component(component),
            self._config,
            logs=self._logs,
            failure=self._last.get(component),
            series=self._trail.series(component, closed=True),
            budget=self.budget.report(),
        )

    def recover(self) -> list[str]:
        """Before anything is started: undo what was neither kept nor undone, and record it; return the ids.

        ``say`` is told what could not be undone.
        """
        if not os.path.isdir(os.path.join(self._logs, "repairs")):
            return []  # Most missions never repaired anything: their boot need not import any of it.
        return self._settlement.recover()

    async def close(self) -> None:
        """Undo what was applied and never settled. To be called at the end, also after a cancellation."""
        try:
            if self._settlement_ is not None:
                await self._settlement_.close()
        finally:
            await self._memory.close()

    @property
    def _settlement(self) -> Settlement:
        if self._settlement_ is None:
            from agents.razar.records.settling import Settlement

            self._settlement_ = Settlement(
                self._logs, self._trail, self._memory, self._say, long_task=self._long_task
            )
        return self._settlement_

    def _component(self, id: str) -> Component:
        try:
            return self._components[id]
        except KeyError:
            raise LookupError(f"the mission {self._config.mission} has no component {id!r}") from None

    def _check_pause(self) -> None:
        why = paused(self._logs)
        if why is not None:
            because = f": {why}" if why else ""
            raise Exhausted(f"repairs are paused{because}; `razar repairs resume` ends that", "paused")

    async def _fingerprint(self, failure: Failure, issue: Issue) -> str | None:
        """The name of the failure in the memory, which counts each failure once."""
        known = self._fingerprints.get(failure.component)
        if known is None or known[0] != failure.at:
            text = known_by(issue, failure.error, failure.tail)
            known = (failure.at, await self._memory.failed(failure.component, issue.name, text))
            self._fingerprints[failure.component] = known
        return known[1]


def _bounded(failure: Failure) -> Failure:
    """What is looked at of a failure; a component can write lines of any length."""
    tail = tuple([line[:LINE] for line in failure.tail[-LINES:]])
    return replace(failure, error=failure.error[:ERROR], tail=tail)


def _wait(failure: Failure, number: int, seconds: float, why: str) -> Attempt:
    return Attempt(
        component=failure.component,
        number=number,
        agent="",
        event="wait",
        outcome="refused",
        reason=why,
        error=failure.error,
        wait=seconds,
    )
