"""An agent behind HTTP: one question with its deadline, its second tries, its count and its receipts."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.razar.agent import Sent, Suggestion, Task
from agents.razar.errors import AgentError, AgentTimeoutError, TooLongError
from agents.razar.proposals.proposal import Proposal
from agents.razar.providers.call import Provider, checked_key, headers_for, reply_of
from agents.razar.providers.material import receipt, receipts, shortened
from agents.razar.providers.profiles import refused_parameter, without
from agents.razar.web.endpoint import completed, parse
from agents.razar.web.own_keys import OwnKeys
from razar.utils.encoding import encode_json
from razar.utils.redaction import one_line

if TYPE_CHECKING:
    from agents.razar.web.http_post import Answer

__all__ = ["Remote"]

#: Parameters that are left out one after the other because the service refuses them.
_DROPPED = 3


class Remote(ABC):
    """What chat completions and completions have in common. See :class:`agents.razar.agent.RepairAgent`."""

    def __init__(self, name: str, provider: Provider, environ: Mapping[str, str]) -> None:
        """Take URL, key and model from their variables. Raises ConfigurationError."""
        self.name = name
        self._provider = provider
        url = environ.get(provider.endpoint_variable)
        self._target = parse(completed(url, provider.suffix), provider.endpoint_variable)
        self._key = checked_key(environ.get(provider.key_variable), provider)
        self.model = environ.get(provider.model_variable or "", "").strip() or self.usual_model()
        self._keys = OwnKeys([self._key])
        self._refused: list[tuple[str, bytes]] = []
        self.endpoint = self._target.shown

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.endpoint}>"

    @abstractmethod
    def usual_model(self) -> str:
        """What such a server most likely calls its model."""

    @abstractmethod
    def payload(self, task: Task) -> dict[str, Any]:
        """The request for a task."""

    def read(self, reply: Any) -> Proposal:
        """The proposal in a reply. Raises ProposalRefusedError."""
        from agents.razar.proposals.tool_calls import read_proposal

        return read_proposal(reply, self._keys)

    def _error(self, answer: Answer) -> AgentError:
        from agents.razar.web.error_table import explain

        return explain(
            self._provider.name, self.endpoint, answer.status, answer.headers, answer.body, self._keys
        )

    async def propose(self, task: Task, *, seconds: float) -> Suggestion:
        """See :meth:`agents.razar.agent.RepairAgent.propose`."""
        return await _Question(self, seconds).ask(task)

    async def _post(self, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
        from agents.razar.parts import load_beside
        from agents.razar.web.http_async import post
        from agents.razar.web.http_post import Limits

        # A model may think until the deadline, then send: only the whole is limited.
        limits = Limits(total=seconds, receive=seconds)
        return await post(self._target, headers=headers, body=body, limits=limits, sent=load_beside)


class _Question:
    """One task on its way: what was sent so far and what it took."""

    def __init__(self, agent: Remote, seconds: float) -> None:
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._end = self._loop.time() + seconds
        self._sent: list[Sent] = []
        self._requests = 0
        self._tokens: int | None = None

    async def ask(self, task: Task) -> Suggestion:
        try:
            try:
                reply = await self._reply(task)
            except TooLongError:
                shorter = shortened(task)
                if shorter == task:
                    raise
                reply = await self._reply(shorter)
            proposal = self._agent.read(reply)
        except AgentError as error:
            error.sent = tuple(self._sent)
            error.requests = self._requests
            error.tokens = self._tokens
            raise
        return Suggestion(
            proposal=proposal,
            model=_model(reply),
            tokens=self._tokens,
            requests=self._requests,
            sent=tuple(self._sent),
        )

    async def _reply(self, task: Task) -> Any:
        """Send a task, without the parameters that this endpoint refused before."""
        agent = self._agent
        payload = agent.payload(task)
        for parameter, told in agent._refused:
            payload = without(payload, parameter, told) if parameter in payload else payload
        headers = headers_for(agent._target, agent._key)
        if task.traceparent is not None:
            headers["traceparent"] = task.traceparent
        while True:
            answer = await self._exchange(task, encode_json(payload), headers)
            if 200 <= answer.status < 300:
                break
            name = refused_parameter(answer.status, answer.body, payload)
            error = agent._error(answer)
            if name is None or isinstance(error, TooLongError) or len(agent._refused) >= _DROPPED:
                raise error
            agent._refused.append((name, answer.body[:4000]))
            payload = without(payload, name, answer.body)
        reply = reply_of(answer.body, agent._keys, f"{agent._provider.name} at {agent.endpoint}")
        self._count(reply)
        return reply

    async def _exchange(self, task: Task, body: bytes, headers: dict[str, str]) -> Answer:
        agent = self._agent
        left = self._end - self._loop.time()
        if left <= 0:
            raise AgentTimeoutError(f"{agent.endpoint}: gave up after {self._seconds:g} s")
        # Noted before: once the connection is open nobody can say how much of it got through.
        self._sent += [receipt("request", agent.endpoint, body), *receipts(task.sources, agent.endpoint)]
        self._requests += 1
        return await agent._post(body, headers, left)

    def _count(self, reply: Any) -> None:
        usage = reply.get("usage") if isinstance(reply, dict) else None
        if not isinstance(usage, dict):
            return
        total = _number(usage.get("total_tokens"))
        if total is None:
            parts = [_number(usage.get("prompt_tokens")), _number(usage.get("completion_tokens"))]
            if all(part is None for part in parts):
                return
            total = sum(part or 0 for part in parts)
        self._tokens = (self._tokens or 0) + total


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _model(reply: Any) -> str | None:
    model = reply.get("model") if isinstance(reply, dict) else None
    return one_line(model, 100) if isinstance(model, str) and model else None
