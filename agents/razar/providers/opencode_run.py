"""opencode's second wire: `opencode run --format json`, which writes into its copy and tells events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agents.razar.agent import Suggestion, Task
from agents.razar.errors import AgentError, BrokenConnectionError, ProposalRefusedError
from agents.razar.local.agent_process import AgentProcess
from agents.razar.local.confinement import confined
from agents.razar.local.masked_export import edits_of, harvest
from agents.razar.local.workspace import Workspace
from agents.razar.providers.acp import AcpTask
from agents.razar.providers.material import receipt
from agents.razar.providers.told import told_error
from agents.razar.providers.words import first_words, proposal_of
from agents.razar.web.http_async import in_thread
from agents.razar.web.own_keys import OwnKeys
from razar.utils.redaction import one_line

__all__ = ["Events", "run"]

#: Requests to its model after which it is ended: it knows no limit of its own.
STEPS = 80
_SAID = 20_000
_TITLE = "repair"


class Events:
    """What the stream of events said so far."""

    def __init__(self, who: str, keys: OwnKeys) -> None:
        self._who = who
        self._keys = keys
        self.said = ""
        self.steps = 0
        self.tokens: int | None = None
        self.reason: str | None = None
        self.error: AgentError | None = None

    def take(self, line: bytes) -> None:
        """Take one line; what is no event, or of a kind that is not known, is passed over."""
        try:
            event = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        part = event.get("part") if isinstance(event, dict) else None
        part = part if isinstance(part, dict) else {}
        match event.get("type") if isinstance(event, dict) else None:
            case "text" if isinstance(part.get("text"), str):
                self.said = (self.said + "\n" + part["text"])[-_SAID:]
            case "step_start":
                self.steps += 1
                if self.steps > STEPS:
                    raise ProposalRefusedError(f"the answer is refused: it was not done after {STEPS} steps")
            case "step_finish":
                reason = part.get("reason")
                self.reason = reason if isinstance(reason, str) else None
                self._count(part.get("tokens"))
            case "error":
                self.error = self.error or self._fault(event.get("error"))

    def _count(self, tokens: Any) -> None:
        if not isinstance(tokens, dict):
            return
        total = tokens.get("total")
        if not isinstance(total, int):
            total = sum(
                value
                for name in ("input", "output", "reasoning")
                if isinstance(value := tokens.get(name), int)
            )
        if 0 <= total < 1 << 40:
            self.tokens = (self.tokens or 0) + total

    def _fault(self, error: Any) -> AgentError:
        error = error if isinstance(error, dict) else {}
        data = error.get("data") if isinstance(error.get("data"), dict) else {}
        message = data.get("message") or error.get("name") or "it did not say why"
        return told_error(self._who, None, str(message), data, self._keys)


async def run(
    talk: AcpTask,
    task: Task,
    place: Workspace,
    program: str,
    env: Mapping[str, str],
    *,
    major: int,
    model: str | None,
    keys: OwnKeys,
) -> Suggestion:
    """Have opencode edit the copy, then compare. Its exit code and its words decide nothing."""
    words = first_words(task, writes=True)
    talk.sent += [*place.copy.sent, receipt("prompt", talk.endpoint, words.encode())]
    more = ("--title", _TITLE, *(("--standalone",) if major >= 2 else ()))
    argv = (program, "run", "--format", "json", *more)
    events, complaints = await _once(talk, place, argv, env, words, keys)
    if not events.steps and "format" in complaints and ("nknown" in complaints or "sage" in complaints):
        # As it was called in versions of long ago.
        argv = (program, "run", "--json", *more)
        events, complaints = await _once(talk, place, argv, env, words, keys)
    if events.error is not None:
        raise events.error
    if events.reason == "length":
        raise ProposalRefusedError("the answer is refused: it is cut off, and half a patch is none")
    edits = await in_thread(lambda: edits_of(place.copy, harvest(place.copy)), lambda: None)
    if not edits:
        if not events.steps:
            last = one_line(keys.text(complaints.strip().rpartition("\n")[2]), 300)
            raise BrokenConnectionError(
                f"{talk.who} ended before it did anything" + (f": {last}" if last else "")
            )
        raise ProposalRefusedError("the answer is refused: it holds no edit: only prose")
    proposal = proposal_of(edits, events.said, talk.who)
    if any(keys.found(text) for text in proposal.texts):
        raise ProposalRefusedError("the answer is refused: it repeats our own key")
    return Suggestion(
        proposal=proposal, model=model, tokens=talk.tokens, requests=talk.requests, sent=tuple(talk.sent)
    )


async def _once(
    talk: AcpTask, place: Workspace, argv: tuple[str, ...], env: Mapping[str, str], words: str, keys: OwnKeys
) -> tuple[Events, str]:
    events = Events(talk.who, keys)
    command = await confined(argv, env, place)
    async with AgentProcess(talk.who, command, cwd=place.copy.folder, env=env) as process:
        try:
            await process.write(words.encode(), last=True)
        except ConnectionError:
            pass  # It ended first; what it said will tell why.
        try:
            while line := await process.line():
                events.take(line)
                talk.requests, talk.tokens = max(1, events.steps), events.tokens
            await process.end()
        finally:
            talk.requests, talk.tokens = max(1, events.steps), events.tokens
        return events, process.complaints
