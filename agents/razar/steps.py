"""The order of a repair: what held before, what RAZAR mends itself, then the agents of the ladder."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from agents.razar import parts
from agents.razar.attempts import Attempt, Exhausted
from agents.razar.case import Case
from agents.razar.escalation.ladder import LOCAL, MEMORY
from agents.razar.patching import journal
from agents.razar.proposals.proposal import tool
from agents.razar.records.remembered import proposal_of
from agents.razar.settings import Settings
from agents.razar.worth import WORTH
from razar.config.model import Approval, Component, MissionConfig

if TYPE_CHECKING:
    from agents.razar.rungs import Rungs

__all__ = ["Steps"]

#: Remembered repairs that are tried in one series.
_RECALLED = 2


class Steps:
    """Takes the first step that applies to a failure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rungs_: Rungs | None = None
        #: Remembered repairs tried in the open series, by component; what was left to the operator.
        self._recalled: dict[str, set[str]] = {}
        self._proposed: dict[str, Attempt] = {}
        self._told: set[str] = set()

    def load(self) -> None:
        """Load what it takes to ask an agent, and make what agents are offered; in a thread."""
        if self._rungs_ is None:
            parts.load(parts.ASKING)
            tool()

    def prepare(self) -> None:
        """Make the agents, and what they are offered, now."""
        tool()
        assert self._rungs is not None

    async def take(self, case: Case) -> Attempt:
        """Make one attempt. Raises Exhausted."""
        component = case.component.id
        if not case.series.attempts:
            self._recalled.pop(component, None)
            self._proposed.pop(component, None)
        proposed = self._proposed.get(component)
        if proposed is not None and await asyncio.to_thread(self._is_decided, proposed):
            del self._proposed[component]
        elif proposed is not None:
            raise Exhausted(_how_to_go_on(proposed), "proposal")
        attempt = await self._from_memory(case)
        if attempt is None:  # One that was refused is an attempt too, and false.
            attempt = await self._locally(case)
        if attempt is None:
            if WORTH[case.issue.name] == "operator":
                reason = f"{case.issue.name}: {case.issue.message}; no patch of the source helps against that"
                raise Exhausted(reason, "class", case.issue.remediation)
            attempt = await self._rungs.ask(case)
        if attempt.outcome == "proposed":
            self._proposed[component] = attempt
        return attempt

    def _is_decided(self, proposed: Attempt) -> bool:
        """Whether the operator has approved or rejected it; of what is only shown nobody is asked."""
        if proposed.patch_id is None or not _waits(proposed):
            return False
        return journal.state_of(self._settings.logs, proposed.patch_id) != "proposed"

    async def _from_memory(self, case: Case) -> Attempt | None:
        component = case.component
        if case.series.agents.count(MEMORY) >= _RECALLED:
            return None
        tried = self._recalled.setdefault(component.id, set())
        for repair in await self._settings.memory.recall(case.fingerprint):
            key = msgspec.json.encode(repair, order="deterministic").decode()
            if key in tried:
                continue
            tried.add(key)
            attempt = await self._repeat(case, repair)
            if attempt is not None:
                return attempt
        return None

    async def _repeat(self, case: Case, repair: dict[str, Any]) -> Attempt | None:
        """Do again what held before; None if it is in place already, or is no repair."""
        if repair.get("kind") == "dependency":
            layer, package = repair.get("layer"), repair.get("package")
            if layer != case.component.layer or not isinstance(package, str):
                return None
            return await self._add(case, package, MEMORY)
        known = proposal_of(repair)
        if known is None or case.component.repair is None or not case.component.repair.paths:
            return None
        from agents.razar.carrying import carry
        from agents.razar.disclosure.sources import in_place

        proposal, after = known
        if await asyncio.to_thread(in_place, self._settings.config.root, after):
            return None
        with case.patching(MEMORY) as span:
            outcome = await carry(
                proposal,
                case.component,
                self._settings.config,
                logs=self._settings.logs,
                probe=self._settings.probe,
                number=case.number,
                agent=MEMORY,
                seen=None,
                interpreter=self._settings.interpreter(case.component.layer),
            )
            span.set("razar.outcome", outcome.status)
        return case.attempt(
            agent=MEMORY,
            outcome="refused" if outcome.status == "rejected" else outcome.status,
            reason=f"held before: {proposal.summary}; {outcome.reason}",
            patch_id=outcome.id,
            diff=outcome.diff,
            repair=repair,
        )

    async def _locally(self, case: Case) -> Attempt | None:
        package = case.issue.package
        if WORTH[case.issue.name] != "local" or package is None or LOCAL in case.series.agents:
            return None
        return await self._add(case, package, LOCAL)

    async def _add(self, case: Case, package: str, agent: str) -> Attempt | None:
        """Add a package to the component's layer; None if that cannot be."""
        from agents.razar import dependency

        component = case.component
        addition = await asyncio.to_thread(
            dependency.examine, self._settings.environments, component.layer, package
        )
        before = (
            addition
            if isinstance(addition, str)
            else dependency.tried(self._settings.logs, component.id, addition)
        )
        if isinstance(addition, str) or before is not None:
            self._tell(f"{component.id}: {package} is not added to layer {component.layer}: {before}")
            return None
        added = await dependency.add(
            self._settings.logs,
            component.id,
            addition,
            approval=_approval(component, self._settings.config, builds=self._settings.builds),
            number=case.number,
        )
        return case.attempt(
            agent=agent,
            outcome="refused" if added.status == "rejected" else added.status,
            reason=f"{package} in layer {component.layer}: {added.reason}",
            patch_id=added.id,
            diff=addition.diff,
            rebuild_layer=component.layer if added.status == "applied" else None,
            repair={"kind": "dependency", "layer": component.layer, "package": package},
        )

    def _tell(self, text: str) -> None:
        """Say what is the same at every attempt, once."""
        if text not in self._told:
            self._told.add(text)
            self._settings.say("INFO", text)

    @property
    def _rungs(self) -> Rungs:
        if self._rungs_ is None:
            from agents.razar.rungs import Rungs

            self._rungs_ = Rungs(self._settings)
        return self._rungs_


def _approval(component: Component, config: MissionConfig, *, builds: bool) -> Approval:
    """Who says nothing about repairs, for the component or the mission, is asked before a file is changed."""
    scope = component.repair
    approval = scope.approval if scope is not None else config.repair.approval or "ask"
    return "ask" if approval == "auto" and not builds else approval


def _waits(attempt: Attempt) -> bool:
    return "waits for approval" in attempt.reason


def _how_to_go_on(attempt: Attempt) -> str:
    id = attempt.patch_id
    if _waits(attempt):
        return f"the patch {id} waits for you: razar repairs show, approve or reject {id}"
    return f"there is a suggestion, {id} in razar_ai_patches.json, that was not applied: {attempt.reason}"
