"""The agents of the ladder: whom to ask, what to ask, and what to make of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agents.razar.agent import RepairAgent
from agents.razar.asking import Answer, Asker, not_asked
from agents.razar.attempts import Attempt, Exhausted, Say
from agents.razar.disclosure.context import Bundle, Caps, make_bundle
from agents.razar.errors import AgentError, ProposalRefusedError, TooLongError
from agents.razar.escalation import ladder
from agents.razar.escalation.ladder import LOCAL, MEMORY
from agents.razar.escalation.pacing import pause_after
from agents.razar.records.trail import NAMES
from agents.razar.settings import Settings
from razar.config.model import MissionConfig
from razar.utils.redaction import redact

if TYPE_CHECKING:
    from agents.razar.case import Case

__all__ = ["Rungs"]

_HOW_TO_CONFIGURE = (
    "set KIMI2_ENDPOINT, OPENCODE_BIN, OPENCODE_BACKEND or RAZAR_ACP_COMMAND, and the key that goes with it"
)


class Rungs:
    """Asks the agent whose turn it is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        config, agents, first = settings.config, settings.agents, settings.first
        wanted = [name for name in config.repair.ladder or () if name != MEMORY]
        if agents is None:
            found, self._missing = _gather(config, settings.environ, settings.say, first)
        else:
            found, there = list(agents), {agent.name for agent in agents}
            self._missing = {name: "it is not configured" for name in wanted if name not in there}
        names = wanted or [agent.name for agent in found]
        self._names = names if first is None else [first, *(name for name in names if name != first)]
        self._asker = Asker(
            found,
            settings.budget,
            logs=settings.logs,
            breakers=settings.breakers,
            clock=settings.clock,
            before_call=settings.check,
        )
        self._caps: dict[str, Caps] = {}

    async def ask(self, case: Case) -> Attempt:
        """Ask once. Raises Exhausted."""
        tried = [name for name in case.series.agents if name not in (MEMORY, LOCAL)]
        while True:
            step = self._next(case, tried)
            if isinstance(step, ladder.Wait):
                return _wait(case, step.seconds, step.reason)
            pause = self._asker.pause(step.agent)
            if pause:
                return _wait(case, pause, f"{step.agent} asked to be left alone for a while")
            self._tell_of_escalation(case, step, tried)
            answer, bundle = await self._asker.ask(step.agent, lambda to: self._bundle(case, to), case.number)
            if not_asked(answer.error):
                # No attempt was made. Its breaker is open now, so it is another one's turn.
                self._missing.setdefault(step.agent, redact(str(answer.error)))
                continue
            if answer.error is not None:
                attempt = self._failed(case, step.agent, answer.error, answer, len(tried))
            else:
                attempt = await self._carry(case, step.agent, answer, bundle, len(tried))
            # After the last attempt there is nothing to wait for: it is the operator's turn.
            return attempt if self._goes_on(case, [*tried, step.agent]) else replace(attempt, wait=0.0)

    def _goes_on(self, case: Case, tried: Sequence[str]) -> bool:
        """Whether anybody is left to be asked, now or later."""
        try:
            self._next(case, tried)
        except Exhausted:
            return False
        return True

    def _next(self, case: Case, tried: Sequence[str]) -> ladder.Step | ladder.Wait:
        """Whose turn it is. Raises Exhausted."""
        scope = case.component.repair
        only_shown = scope is None or not scope.paths
        step = ladder.choose(
            self._names,
            tried,
            threshold=self._settings.threshold,
            # What may only be shown is not asked for again and again.
            attempts=1 if only_shown and not self._settings.long_task else self._settings.attempts,
            blocked=self._asker.blocked(self._missing),
            endless=self._settings.long_task,
        )
        if not isinstance(step, ladder.End):
            return step
        if not self._names or len(self._missing) == len(self._names):
            raise Exhausted(f"{step.reason}: {_HOW_TO_CONFIGURE}", "configuration")
        raise Exhausted(step.reason, "ladder")

    def _tell_of_escalation(self, case: Case, step: ladder.Step, tried: Sequence[str]) -> None:
        order = self._names
        before = next((name for name in reversed(tried) if name in order), order[0])
        if order.index(step.agent) <= order.index(before) or case.series.escalated == step.agent:
            return
        reasons = [f"{name}: {why}" for name, why in step.skipped]
        made = f"{len(tried)} attempts did not help" if tried else ""
        reason = "; ".join([text for text in (made, *reasons) if text])
        name = NAMES.get(step.agent, step.agent)
        self._settings.say("WARN", f"{case.component.id}: its repair goes to {name} ({reason})")
        self._settings.trail.escalation(
            case.component.id, case.number, case.failure.error, step.agent, reason
        )

    def _bundle(self, case: Case, to: str) -> Bundle:
        return make_bundle(
            case.component,
            error=case.failure.error,
            tail=case.failure.tail,
            issue=case.issue,
            context=case.context,
            attempt=case.number,
            root=self._settings.config.root,
            logs=self._settings.logs,
            to=to,
            caps=self._caps.get(case.component.id),
            traceparent=case.span.traceparent() or case.failure.traceparent,
        )

    def _failed(self, case: Case, agent: str, error: AgentError, answer: Answer, before: int) -> Attempt:
        if isinstance(error, TooLongError):
            self._caps[case.component.id] = self._caps.get(case.component.id, Caps()).shortened()
        refused = isinstance(error, ProposalRefusedError)
        return case.attempt(
            agent=agent,
            agent_original=NAMES.get(agent),
            outcome="refused" if refused else "failed",
            reason=redact(str(error)),
            asked=answer.seconds,
            tokens=answer.tokens,
            wait=pause_after(before + 1, error, self._settings.chance),
        )

    async def _carry(self, case: Case, agent: str, answer: Answer, bundle: Bundle, before: int) -> Attempt:
        from agents.razar.carrying import carry, masked_places
        from agents.razar.records.remembered import patch_repair

        suggestion = answer.suggestion
        assert suggestion is not None
        proposal = suggestion.proposal
        attempt = case.attempt(
            agent=agent,
            agent_original=NAMES.get(agent),
            outcome="refused",
            reason="",
            asked=answer.seconds,
            tokens=answer.tokens,
            wait=pause_after(before + 1, None, self._settings.chance),
        )
        hidden = masked_places(proposal, bundle.incomplete)
        if hidden is not None:
            return replace(attempt, reason=hidden)
        with case.patching(agent) as span:
            outcome = await carry(
                proposal,
                case.component,
                self._settings.config,
                logs=self._settings.logs,
                probe=self._settings.probe,
                number=case.number,
                agent=agent,
                seen=bundle.seen,
                interpreter=self._settings.interpreter(case.component.layer),
            )
            span.set("razar.outcome", outcome.status)
        applied = outcome.status != "rejected"
        return replace(
            attempt,
            outcome=outcome.status if outcome.status != "rejected" else "refused",
            reason=outcome.reason,
            patch_id=outcome.id,
            diff=outcome.diff,
            repair=patch_repair(proposal, outcome.files) if applied else None,
            wait=0.0 if applied else attempt.wait,
        )


def _wait(case: Case, seconds: float, reason: str) -> Attempt:
    return case.attempt(agent="", event="wait", outcome="refused", reason=reason, wait=seconds)


def _gather(
    config: MissionConfig, environ: Mapping[str, str], say: Say, first: str | None
) -> tuple[list[RepairAgent], dict[str, str]]:
    """The agents that can be asked, and why others of the ladder cannot."""
    from agents.razar.roster import roster

    found: list[RepairAgent] = []
    missing: dict[str, str] = {}
    named = ([] if first is None else [first]) + [
        name for name in config.repair.ladder or () if name != MEMORY
    ]
    for name in dict.fromkeys(named):
        one = roster(environ, (name,), config.repair)
        found += one.agents
        if not one.agents:
            missing[name] = str(one.problems[0]) if one.problems else "it is not configured"
            say("WARN", f"repair agents: {missing[name]}")
    if config.repair.ladder is None:
        usual = roster(environ, None, config.repair)
        found += [agent for agent in usual.agents if agent.name != first]
        for problem in usual.problems:
            say("WARN", f"repair agents: {problem}")
    return found, missing
