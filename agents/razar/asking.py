"""Asks one agent once: within the budget, one at a time for an endpoint, with a report of what left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from agents.razar.agent import RepairAgent, Suggestion
from agents.razar.attempts import Exhausted
from agents.razar.disclosure.context import Bundle
from agents.razar.disclosure.redaction_report import HandoverReport
from agents.razar.errors import AgentError, AgentTimeoutError, ConfigurationError
from agents.razar.escalation.breaker import Breakers
from agents.razar.escalation.budgets import Budget, tokens_in
from agents.razar.escalation.ladder import Block
from agents.razar.escalation.switches import resumed_at
from razar.utils.redaction import one_line

__all__ = ["Answer", "Asker", "not_asked"]

#: Seconds for one call: agents behind HTTP answer once, coding agents work for a while.
SECONDS = 120.0
CODING_SECONDS = 600.0
_CODING = frozenset({"acp", "opencode"})
#: Seconds after its own time limit at which an agent that did not keep it is given up.
_GRACE = 5.0


class Answer(Struct, frozen=True, kw_only=True):
    """What came of a call: a suggestion or an error, and the report about it."""

    suggestion: Suggestion | None
    error: AgentError | None
    seconds: float
    tokens: int | None
    report: HandoverReport


class Asker:
    """The agents of a mission with their budget, breakers and locks."""

    def __init__(
        self,
        agents: Sequence[RepairAgent],
        budget: Budget,
        *,
        logs: str,
        breakers: Breakers | None = None,
        clock: Callable[[], float] = time.time,
        before_call: Callable[[], None] = lambda: None,
    ) -> None:
        self.agents: dict[str, RepairAgent] = {}
        for agent in agents:
            self.agents.setdefault(agent.name, agent)
        self.budget = budget
        self.breakers = breakers or Breakers()
        self._logs = logs
        self._clock = clock
        self._before_call = before_call
        self._endpoints: dict[str, asyncio.Lock] = {}

    def blocked(self, missing: Mapping[str, str]) -> dict[str, Block]:
        """The agents that cannot be asked now; ``missing`` are those that are not there at all."""
        self.breakers.resume(resumed_at(self._logs))
        blocked = {name: Block(why) for name, why in missing.items()}
        now = self._clock()
        for name, agent in self.agents.items():
            block = self.breakers.block(agent.endpoint, now)
            if block is not None:
                blocked[name] = block
        return blocked

    def pause(self, name: str) -> float:
        """Seconds that the agent's service asked everybody to wait."""
        return self.breakers.not_before(self.agents[name].endpoint, self._clock())

    async def ask(self, name: str, make: Callable[[str], Bundle], number: int) -> tuple[Answer, Bundle]:
        """Ask an agent; ``make`` makes what it is given once it is its turn, for its endpoint.

        Raises Exhausted if the budget forbids it. Cancelling it ends the call at once.
        """
        agent = self.agents[name]
        async with self._endpoints.setdefault(agent.endpoint, asyncio.Lock()):
            bundle = await asyncio.to_thread(make, agent.endpoint)
            # What others used up meanwhile counts too.
            self._before_call()
            task = bundle.task
            wanted = tokens_in(task.instructions, task.report, *(source.text for source in task.sources))
            spent = self.budget.spent(wanted)
            if spent is not None:
                raise Exhausted(f"{spent}; see repair.budget", "budget")
            report = HandoverReport.begin(
                self._logs, task.component, number, name, agent.endpoint, bundle.parts
            )
            return await self._call(agent, bundle, wanted, report), bundle

    async def _call(self, agent: RepairAgent, bundle: Bundle, wanted: int, report: HandoverReport) -> Answer:
        limit = min(CODING_SECONDS if agent.name in _CODING else SECONDS, self.budget.seconds_left())
        receipt = self.budget.begin(wanted)
        suggestion, error = None, None
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit + _GRACE):
                suggestion = await agent.propose(bundle.task, seconds=limit)
        except AgentError as fault:
            error = fault
        except TimeoutError:
            error = AgentTimeoutError(f"{agent.name} did not end within {limit:g} s")
        except asyncio.CancelledError:
            self.budget.end(receipt, time.monotonic() - began)
            report.end(self._logs, "cancelled", "the repair was cancelled", ())
            raise
        except Exception as fault:  # A defect of the agent's adapter must not end the mission.
            error = AgentError(one_line(f"{agent.name} failed: {type(fault).__name__}: {fault}", 500))
        seconds = time.monotonic() - began
        told = suggestion if error is None else error
        tokens = None if told is None else told.tokens
        if not_asked(error):
            self.budget.void(receipt)
        self.budget.end(receipt, seconds, requests=1 if told is None else told.requests, tokens=tokens)
        if error is None:
            self.breakers.succeeded(agent.endpoint)
            assert suggestion is not None
            report.end(self._logs, "answered", "", suggestion.sent)
        else:
            if _blames_endpoint(error):
                self.breakers.failed(agent.endpoint, error, self._clock())
            report.end(self._logs, "failed", str(error), error.sent)
        return Answer(suggestion=suggestion, error=error, seconds=seconds, tokens=tokens, report=report)


def not_asked(error: AgentError | None) -> bool:
    """Whether an agent could not even be asked: its program, key or settings are no good."""
    return isinstance(error, ConfigurationError) and not error.sent


def _blames_endpoint(error: AgentError) -> bool:
    """Whether an error says something about the service and not about this one request or answer."""
    return error.next_step in ("back_off", "open_breaker", "operator", "wait")
