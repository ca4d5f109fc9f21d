"""What is said to a coding agent, and what is taken of its last words."""

from __future__ import annotations

import re

from agents.razar.agent import Task
from agents.razar.errors import ProposalRefusedError
from agents.razar.proposals.proposal import Edit, Proposal
from agents.razar.providers.material import material
from razar.utils.redaction import one_line

__all__ = ["FURTHER", "first_words", "proposal_of"]

_LAST = (
    "When everything is done, end with two lines: `CAUSE:` and why the component failed, "
    "`PATCH:` and what your edits do."
)
_OFFERED = (
    "You work in a copy of the project, the current folder. Read what you need and change files with your edit "
    "tool; nothing can be executed. Each edit is recorded as a part of one proposal, and the permission for it is "
    "declined, which is no judgement of it: the file stays as it is on disk. Do not try the same edit again. "
)
_WRITTEN = (
    "You work in a copy of the project, the current folder. Read what you need and change files with your edit "
    "tool; nothing can be executed. Make the smallest change that repairs the cause. "
)
#: Said after a turn that brought an edit: agents end their turn at a permission that is declined.
FURTHER = (
    "Your edits so far are recorded, and will be applied together; the files on disk stay as they are until then. "
    "Offer the edits that are still missing, each once, against the files as they are. " + _LAST
)


def first_words(task: Task, *, writes: bool) -> str:
    """The whole task for an agent that reads the files itself, and writes them or only offers to."""
    how = (_WRITTEN if writes else _OFFERED) + "Do not change tests, health checks or dependencies. "
    return f"{task.instructions}\n\n{how}{_LAST}\n\n{material(task, files=False)}"


def proposal_of(edits: list[Edit], said: str, who: str) -> Proposal:
    """A proposal, explained by the agent's last words where it gave any. Raises ProposalRefusedError."""
    paths = ", ".join(dict.fromkeys(edit.path for edit in edits))
    patch = _after("PATCH", said) or f"{who} edits {paths}"
    cause = _after("CAUSE", said) or one_line(" ".join(said.split())[-2000:], 2000) or f"{who} did not say."
    try:
        return Proposal(summary=one_line(patch, 1500), root_cause=one_line(cause, 4000), edits=edits)
    except ValueError as fault:  # Too long, in sum.
        raise ProposalRefusedError(f"the answer is refused: {fault}") from None


def _after(mark: str, said: str) -> str:
    found = re.findall(rf"(?im)^[\s*`#>-]*{mark}[`*]*:[`*]*[ \t]*(\S.*)$", said[-20_000:])
    return found[-1].strip() if found else ""
