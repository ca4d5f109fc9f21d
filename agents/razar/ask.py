"""Ask one agent by hand: ``python -m agents.razar.ask``. It shows the proposal; nothing is changed."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from agents.razar.agent import RepairAgent, Sent, Source, Suggestion, Task
from agents.razar.errors import AgentError, ConfigurationError
from agents.razar.local.masked_export import FILE_LIMIT, read_text
from agents.razar.patching.edits import by_path, new_text
from agents.razar.patching.refusal import Refusal
from agents.razar.roster import roster
from razar.config.model import RUNGS
from razar.utils.digests import sha256_hex
from razar.utils.redaction import neutralise, redact

__all__ = ["main"]

_INSTRUCTIONS = (
    "You repair one component of a software system. Find the cause of the failure and propose a patch."
)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the command; returns its exit code: 0 a proposal, 1 none, 2 nobody to ask."""
    parser = argparse.ArgumentParser(
        prog="python -m agents.razar.ask",
        description="Ask one repair agent about a failure and show what it proposes. Nothing is changed.",
    )
    parser.add_argument(
        "--agent", choices=[name for name in RUNGS if name != "memory"], help="default: the first one"
    )
    parser.add_argument("--component", default="component", help="its name")
    parser.add_argument("--error", required=True, help="what went wrong")
    parser.add_argument("--root", default=".", help="the project's folder")
    parser.add_argument("--seconds", type=float, default=300.0, help="time limit")
    parser.add_argument("files", nargs="+", help="files it may change, relative to the folder")
    given = parser.parse_args(arguments)
    found = roster(environ, None if given.agent is None else (given.agent,))
    try:
        if not found.agents:
            raise found.problems[0] if found.problems else ConfigurationError("no agent is configured")
        task = _task(given)
    except ConfigurationError as problem:
        print(f"{problem}; see docs/agents.md", file=sys.stderr)
        return 2
    return asyncio.run(_ask(found.agents[0], task, given.seconds))


def _task(given: argparse.Namespace) -> Task:
    root = os.path.abspath(given.root)
    sources = []
    for path in given.files:
        place = os.path.relpath(os.path.join(root, path), root)
        text = None if place.startswith("..") else read_text(os.path.join(root, place))
        if text is None:
            raise ConfigurationError(
                f"{path}: expected a text file in {root} of at most {FILE_LIMIT:,} bytes"
            )
        sources.append(Source(path=place, text=redact(text), sha256=sha256_hex(text.encode())))
    return Task(
        component=given.component,
        attempt=1,
        instructions=_INSTRUCTIONS,
        report=redact(given.error),
        sources=tuple(sources),
        root=root,
        logs=os.path.join(root, "logs"),
        paths=tuple(source.path for source in sources),
    )


async def _ask(agent: RepairAgent, task: Task, seconds: float) -> int:
    try:
        answer = await agent.propose(task, seconds=seconds)
    except AgentError as error:
        _show_sent([one for one in error.sent if isinstance(one, Sent)])
        print(f"{agent.name}: {error}", file=sys.stderr)
        return 1
    _show_sent(answer.sent)
    _show(answer, task.root)
    return 0


def _show_sent(sent: Sequence[Sent]) -> None:
    for one in sent:
        masked = f", {one.masked} places masked" if one.masked else ""
        print(
            f"could leave this machine, to {one.to}: {one.what} ({one.size:,} bytes{masked})", file=sys.stderr
        )


def _show(answer: Suggestion, root: str) -> None:
    from difflib import unified_diff

    proposal = answer.proposal
    tokens = "not told" if answer.tokens is None else f"{answer.tokens:,}"
    print(f"cause: {_line(proposal.root_cause)}\npatch: {_line(proposal.summary)}")
    print(f"model: {answer.model or 'not told'}, requests: {answer.requests}, tokens: {tokens}\n")
    for path, edits in by_path(proposal.edits).items():
        before = read_text(os.path.join(root, path))
        try:
            after = new_text(path, before, edits)
        except Refusal as refusal:
            print(f"{_line(path)} cannot be changed so: {refusal}")
            continue
        old, new = (before or "").splitlines(), after.splitlines()
        for line in unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm=""):
            print(_line(line))


def _line(text: str) -> str:
    return neutralise(redact(text))


if __name__ == "__main__":
    from razar.utils.pipes import until_closed

    sys.exit(until_closed(main))
