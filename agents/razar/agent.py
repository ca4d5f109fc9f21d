"""What a repair agent is given and what it gives back; every kind of agent has this face."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from agents.razar.proposals.proposal import Proposal

__all__ = ["RepairAgent", "Sent", "Source", "Suggestion", "Task"]


class Source(Struct, frozen=True, kw_only=True):
    """A file the agent may propose to change.

    ``text`` is what may leave the machine: secrets are masked in it. ``sha256`` is that of the real
    bytes, so that a file which changes before the patch is applied is noticed.
    """

    path: str
    text: str
    sha256: str


class Task(Struct, frozen=True, kw_only=True):
    """One failure, ready to be handed over. Nothing in it needs to be masked any more.

    ``instructions`` are ours and trusted; ``report`` holds delimited text that strangers may have
    written. ``root`` is the mission folder, ``paths`` the globs of ``repair.paths``; ``logs`` is never
    shown to an agent. ``tests`` are the commands that will judge the patch, for reading only.
    """

    component: str
    attempt: int
    instructions: str
    report: str
    sources: tuple[Source, ...] = ()
    root: str
    logs: str
    paths: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    traceparent: str | None = None


class Sent(Struct, frozen=True, kw_only=True):
    """One thing that left the machine: what it was, to whom, how long, how much of it was masked."""

    what: str
    to: str
    size: int
    sha256: str
    masked: int


class Suggestion(Struct, frozen=True, kw_only=True):
    """An agent's answer. ``tokens`` counts those sent and received, None if it did not say."""

    proposal: Proposal
    model: str | None = None
    tokens: int | None = None
    requests: int = 1
    sent: tuple[Sent, ...] = ()


class RepairAgent(Protocol):
    """An agent that can be asked for a patch.

    ``name`` is the rung of the ladder (``kimi2``, ``airstar``, ``rstar``, ``opencode``, ``acp``);
    ``endpoint`` identifies whom it bothers, without credentials: requests to one endpoint are made
    one after the other.
    """

    name: str
    endpoint: str

    async def propose(self, task: Task, *, seconds: float) -> Suggestion:
        """Ask once, within ``seconds``. Raises AgentError; ProposalRefusedError for an unusable answer.

        Cancelling it ends the request at once, and leaves no process and no thread behind. What had
        left the machine before an error is in the error's ``sent``.
        """
