"""Which failures are worth an agent, by what the log says of their cause."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from razar.issues.classes import Issue, IssueClass, classify

__all__ = ["WORTH", "Worth", "issue_of"]

#: ``local``: first what RAZAR can do itself, then agents; ``agents``; ``operator``: no patch of the source helps.
Worth = Literal["local", "agents", "operator"]

WORTH: dict[IssueClass, Worth] = {
    "dependency": "local",
    "configuration": "agents",
    "logic": "agents",
    "unknown": "agents",
    "port": "operator",
    "permission": "operator",
    "resource": "operator",
    "network": "operator",
}


def issue_of(error: str, tail: Iterable[str]) -> Issue:
    """Classify a failure.

    That a probe was not answered looks like a fault of the network, and is only what a fault of the
    component looks like from outside: the network is to blame if the component itself says so.
    """
    lines = tuple(tail)
    issue = classify(error, lines)
    if issue.name == "network" and classify("", lines).name != "network":
        return Issue(name="unknown", message=issue.message)
    return issue
