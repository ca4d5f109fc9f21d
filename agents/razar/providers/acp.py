"""Any agent that speaks the Agent Client Protocol, run in a masked copy of the mission."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from agents.razar.agent import Sent, Suggestion, Task
from agents.razar.errors import (
    AgentError,
    AgentTimeoutError,
    BrokenConnectionError,
    ConfigurationError,
    ProposalRefusedError,
    QuotaError,
)
from agents.razar.local.agent_process import AgentProcess
from agents.razar.local.collected import Collected
from agents.razar.local.confinement import confined
from agents.razar.local.masked_export import harvest
from agents.razar.local.workspace import Workspace, also_readable, handed_on, workspace
from agents.razar.providers.material import receipt
from agents.razar.providers.told import told_error
from agents.razar.providers.words import FURTHER, first_words, proposal_of
from agents.razar.web.http_async import in_thread
from agents.razar.web.own_keys import OwnKeys
from razar.utils.redaction import one_line

__all__ = ["AcpAgent", "AcpTask", "accounted", "acp_agent", "installed"]

COMMAND = "RAZAR_ACP_COMMAND"
HOME = "RAZAR_ACP_HOME"
#: Turns after which an agent that still edits is not asked to go on.
TURNS = 12
_STOPPED = {
    "max_tokens": "it was cut off at its limit of tokens, and half a patch is none",
    "max_turn_requests": "it reached its limit of requests before it was done",
    "refusal": "it does not want to do this",
    "cancelled": "it was cancelled",
}


def _leave() -> None:
    """A thread that ends by itself, soon enough."""


def installed() -> bool:
    """Whether the package is there; it is not imported for that."""
    return find_spec("acp") is not None


class AcpAgent:
    """A program given by RAZAR_ACP_COMMAND. See :class:`agents.razar.agent.RepairAgent`."""

    name = "acp"

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv = tuple(argv)
        self._environ = environ
        self._handed = handed_on(environ)
        self._readable = also_readable(environ)
        self._home = environ.get(HOME, "").strip() or None
        if self._home is not None and not (os.path.isabs(self._home) and os.path.isdir(self._home)):
            raise ConfigurationError(
                f"{HOME}: found {self._home[:200]!r}, expected the absolute path of a folder"
            )
        self.endpoint = f"acp:{os.path.basename(self._argv[0])}"

    def __repr__(self) -> str:
        return f"<AcpAgent {self.endpoint}>"

    async def propose(self, task: Task, *, seconds: float) -> Suggestion:
        """See :meth:`agents.razar.agent.RepairAgent.propose`."""
        if not installed():
            raise ConfigurationError(
                'agents that speak ACP need the package agent-client-protocol: pip install "razar[acp]"'
            )
        talk = AcpTask(os.path.basename(self._argv[0]), self.endpoint, OwnKeys(self._handed.values()))
        async with (
            accounted(seconds, talk),
            workspace(task, to=self.endpoint, readable=self._readable) as place,
        ):
            more = dict(self._handed)
            if task.traceparent is not None:
                more["TRACEPARENT"] = task.traceparent
            if self._home is not None:
                place.lent.append(os.path.realpath(self._home))
            env = place.environment(self._environ, more, home=self._home)
            return await talk.run(task, place, self._argv, env)


@asynccontextmanager
async def accounted(seconds: float, talk: AcpTask) -> AsyncIterator[None]:
    """A deadline for all of it; whatever goes wrong, the error says what had been sent by then."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise talk.account(talk.late(seconds)) from None
    except AgentError as error:
        raise talk.account(error) from None


class AcpTask:
    """One task in the hands of one process: what was sent, and what it took."""

    def __init__(self, who: str, endpoint: str, keys: OwnKeys) -> None:
        self.who = who
        self.endpoint = endpoint
        self.sent: list[Sent] = []
        self.requests = 0
        self.tokens: int | None = None
        self.began = False
        #: What its model's service said over and over, where that can be known.
        self.trouble: str | None = None
        self._keys = keys

    def late(self, seconds: float) -> AgentError:
        """The error of a deadline that passed."""
        text = f"{self.who}: gave up after {seconds:g} s"
        if self.trouble is None:
            return AgentTimeoutError(text)
        words = self._keys.text(self.trouble)
        error = told_error(self.who, None, words, {"statusCode": 429})
        if isinstance(error, QuotaError):  # Only the words tell it from a service that is merely busy.
            return error
        return AgentTimeoutError(f"{text}, in which its model kept failing: {one_line(words, 200)}")

    def account(self, error: AgentError) -> AgentError:
        """Put into an error what had been sent, and what that took."""
        error.sent = tuple(self.sent)
        error.requests = self.requests
        error.tokens = self.tokens
        return error

    async def run(
        self, task: Task, place: Workspace, argv: Sequence[str], env: Mapping[str, str]
    ) -> Suggestion:
        """Start the agent, hold the conversation, end the agent, and take what it proposed."""
        # Both may take a while, and the loop that waits here watches over components.
        parts = await in_thread(lambda: import_module("agents.razar.providers.acp_client"), _leave)
        collected = Collected(place.copy)
        client = parts.Client(place.copy.folder, collected)
        command = await confined(argv, env, place)
        async with AgentProcess(self.who, command, cwd=place.copy.folder, env=env) as process:
            self.sent += place.copy.sent  # From now on it can read and send them.
            talk = parts.Conversation(self.who, process, client, place.copy.folder, self._keys)
            try:
                await talk.begin()
                self.began = True
                await self._turns(task, talk, client, collected)
            except BrokenConnectionError as error:
                last = process.complaints.strip().rpartition("\n")[2]
                if last:
                    error.args = (f"{error}: {one_line(self._keys.text(last), 300)}",)
                raise
            finally:
                await talk.close()
        edits = await in_thread(lambda: collected.edits(harvest(place.copy)), _leave)
        if not edits:
            raise ProposalRefusedError("the answer is refused: it holds no edit: only prose")
        proposal = proposal_of(edits, client.said, self.who)
        if any(self._keys.found(text) for text in proposal.texts):
            raise ProposalRefusedError("the answer is refused: it repeats our own key")
        return Suggestion(
            proposal=proposal,
            model=talk.model,
            tokens=self.tokens,
            requests=self.requests,
            sent=tuple(self.sent),
        )

    async def _turns(self, task: Task, talk: Any, client: Any, collected: Collected) -> None:
        """Go on for as long as a turn brings an edit: many agents end it at the first one declined."""
        words = first_words(task, writes=False)
        for _ in range(TURNS):
            before = collected.count
            client.said = ""
            self.sent.append(receipt("prompt", self.endpoint, words.encode()))
            self.requests += 1
            reason, tokens = await talk.say(words)
            if tokens:
                self.tokens = (self.tokens or 0) + tokens
            if reason != "end_turn":
                why = _STOPPED.get(reason, f"it stopped for {one_line(reason, 40)}")
                raise ProposalRefusedError(f"the answer is refused: {why}")
            if client.fault is not None:
                raise client.fault
            if collected.count == before:
                return
            words = FURTHER
        raise ProposalRefusedError(f"the answer is refused: it was still editing after {TURNS} turns")


def acp_agent(environ: Mapping[str, str]) -> AcpAgent:
    """The agent of RAZAR_ACP_COMMAND. Raises ConfigurationError."""
    from razar.config.faults import Problem
    from razar.config.words import split_words

    try:
        argv = split_words(environ.get(COMMAND, ""))
    except Problem as problem:
        raise ConfigurationError(f"{COMMAND}: found {problem.found}, expected {problem.expected}") from None
    if not argv:
        raise ConfigurationError(f"{COMMAND} is not set: expected a command such as `kimi acp`")
    return AcpAgent(argv, environ)
