"""What a failure is known by: words that are there the next time, and not where it is another one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from razar.issues.classes import Issue, tells
from razar.utils.redaction import one_line

__all__ = ["known_by"]

_SHOWN = 400
_FAULT = re.compile(r"(?:error|exception|panic(?:ked)?|fatal|fail(?:ed|ure)|abort(?:ed)?)\b", re.IGNORECASE)
#: Rust says where it panicked, and in the next line why.
_WHERE_ONLY = re.compile(r"\bpanicked at .*:$")


def known_by(issue: Issue, error: str, tail: Iterable[str]) -> str:
    """The text of a failure for the memory, given the issue that was found in the error and the log's tail.

    An exit code alone, or the place of a panic, would make one failure of all that a component has.
    """
    lines = [part for line in tail for part in line.splitlines()]
    if issue.name == "unknown" and issue.message == one_line(error, _SHOWN):
        # Of what is indented, such as the frames of a stack, it is not told whether it is a fault.
        faults = (line for line in reversed(lines) if not line[:1].isspace() and _FAULT.search(line))
        said = next(filter(tells, faults), None)
        return error if said is None else f"{error}\n{one_line(said, _SHOWN)}"
    if _WHERE_ONLY.search(issue.message):
        for place, why in reversed(list(pairwise(lines))):
            if _WHERE_ONLY.search(place.rstrip()):
                return f"{issue.message}\n{one_line(why.strip(), _SHOWN)}"
    return issue.message
