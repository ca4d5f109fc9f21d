"""What left the machine in one handover: to whom, how much, with which digests, how much was masked."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from agents.razar.agent import Sent
from agents.razar.patching.journal import new_id
from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.redaction import redact
from razar.utils.times import utc_micro

__all__ = ["FOLDER", "HandoverReport", "reports_of"]

#: Below the folder of the logs.
FOLDER = os.path.join("repairs", "handovers")


class HandoverReport(Struct, kw_only=True):
    """One handover. ``given`` is what the agent was handed, ``sent`` what it says it sent on.

    An agent that says nothing is taken to have sent all it was given.
    """

    id: str
    component: str
    attempt: int
    agent: str
    endpoint: str
    began: str
    ended: str | None = None
    outcome: str = "under way"
    reason: str = ""
    masked: int = 0
    given: tuple[Sent, ...] = ()
    sent: tuple[Sent, ...] = ()

    @classmethod
    def begin(
        cls, logs: str, component: str, attempt: int, agent: str, endpoint: str, given: Sequence[Sent]
    ) -> HandoverReport:
        """Write the report before anything leaves the machine. Raises OSError: then nothing may."""
        report = cls(
            id=new_id(),
            component=component,
            attempt=attempt,
            agent=agent,
            endpoint=redact(endpoint),
            began=utc_micro(time.time()),
            masked=sum(part.masked for part in given),
            given=tuple(given),
        )
        os.makedirs(os.path.join(logs, FOLDER), mode=0o750, exist_ok=True)
        report._write(logs)
        return report

    def end(self, logs: str, outcome: str, reason: str, sent: Sequence[object]) -> None:
        """Complete the report. What cannot be written is left as it was begun."""
        self.ended = utc_micro(time.time())
        self.outcome = outcome
        self.reason = redact(reason)[:2000]
        self.sent = tuple([part for part in sent if isinstance(part, Sent)])
        try:
            self._write(logs)
        except OSError:
            pass

    def _write(self, logs: str) -> None:
        files.replace(os.path.join(logs, FOLDER, f"{self.id}.json"), encode_json(self), sync=False)


def reports_of(logs: str, component: str, since: float = 0.0) -> list[HandoverReport]:
    """The reports about a component that began at an instant or later, oldest first."""
    folder = os.path.join(logs, FOLDER)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = []
    for name in names:
        try:
            data = files.read_limited(os.path.join(folder, name), 1 << 20) or b""
            report = msgspec.json.decode(data, type=HandoverReport)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if report.component == component and report.began >= utc_micro(since):
            found.append(report)
    return found
