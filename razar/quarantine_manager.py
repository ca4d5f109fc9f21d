"""Who is in quarantine and why: a store that outlives boots, and a table for people.

The store is ``razar_quarantine.json`` in the folder of logs; ``docs/quarantine_log.md`` in the
mission folder gets a row for every event. Asking changes nothing on the disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from razar.config.model import Component
from razar.utils import files
from razar.utils.redaction import one_line
from razar.utils.times import utc

__all__ = ["Entry", "QuarantineManager", "definition_digest"]

SCHEMA = 1
STORE_NAME = "razar_quarantine.json"
LOG_NAME = os.path.join("docs", "quarantine_log.md")
#: Bytes beyond which a store is no store of ours.
SIZE_LIMIT = 16 * 1024 * 1024

_TITLE = "# Quarantine log\n"
_HEADER = "| time | component | class | remediation |\n| --- | --- | --- | --- |\n"


class Entry(Struct, frozen=True, kw_only=True):
    """A component in quarantine. ``since`` is epoch seconds, ``digest`` that of its definition."""

    error: str
    issue_class: str
    remediation: str
    digest: str
    since: float


class _Store(Struct, frozen=True, kw_only=True):
    schema: int
    components: dict[str, Entry]


def definition_digest(component: Component) -> str:
    """A digest of a component's definition; another one means that somebody has changed it."""
    import hashlib

    return hashlib.sha256(msgspec.json.encode(component, order="deterministic")).hexdigest()


class QuarantineManager:
    """Puts components into quarantine and releases them.

    A disk that refuses is told through ``report``; what was decided holds in memory all the same
    and is written with the next change.
    """

    def __init__(self, root: str, logs: str, *, report: Callable[[str], None] | None = None) -> None:
        self.log_path = os.path.join(root, LOG_NAME)
        self.store_path = os.path.join(logs, STORE_NAME)
        self._report = report
        self._entries: dict[str, Entry] | None = None
        self._damaged = False

    def current(self) -> dict[str, Entry]:
        """The components in quarantine, in the order in which they got there."""
        if self._entries is None:
            self._entries = self._load()
        return dict(self._entries)

    def is_quarantined(self, component: str) -> bool:
        """Whether a component is in quarantine."""
        return component in self.current()

    def quarantine(
        self,
        component: str,
        error: str,
        issue_class: str,
        remediation: str,
        definition_digest: str,
        at: float | None = None,
    ) -> None:
        """Put a component into quarantine. ``at`` is epoch seconds, default now."""
        at = time.time() if at is None else at
        entries = self.current()
        entries.pop(component, None)
        entries[component] = Entry(
            error=one_line(error),
            issue_class=issue_class,
            remediation=one_line(remediation),
            digest=definition_digest,
            since=at,
        )
        self._keep(entries)
        self._row(at, component, issue_class, remediation)

    def release(self, component: str, note: str, at: float | None = None) -> bool:
        """Release a component; False if it is not in quarantine."""
        entries = self.current()
        if entries.pop(component, None) is None:
            return False
        self._keep(entries)
        self._row(time.time() if at is None else at, component, "released", note)
        return True

    def reconcile(self, digests: Mapping[str, str], at: float | None = None) -> list[str]:
        """Release the components whose definition has changed; return and tell them.

        ``digests`` are the present ones by component. A component that is not among them is left
        alone: it may come back.
        """
        changed = [
            component
            for component, entry in self.current().items()
            if component in digests and digests[component] != entry.digest
        ]
        for component in changed:
            self.release(component, "its definition has changed", at)
            self._tell(f"{component} is released from quarantine: its definition has changed")
        return changed

    def _keep(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        try:
            if self._damaged:
                aside = files.set_aside(self.store_path, time.time())
                self._tell(f"the damaged {self.store_path} is set aside as {aside}")
                self._damaged = False
            data = msgspec.json.encode(_Store(schema=SCHEMA, components=entries))
            files.replace(self.store_path, msgspec.json.format(data) + b"\n")
        except OSError as fault:
            self._tell(f"{self.store_path} cannot be written: {files.why(fault)}")

    def _load(self) -> dict[str, Entry]:
        problem = "is too long to be one of ours"
        try:
            data = files.read_limited(self.store_path, SIZE_LIMIT)
            if data is not None:
                store = msgspec.json.decode(data, type=_Store)
                if store.schema <= SCHEMA:
                    return store.components
                problem = f"was written by a newer RAZAR (schema {store.schema}; this one reads {SCHEMA})"
        except FileNotFoundError:
            return {}
        except OSError as fault:
            problem = f"cannot be read: {files.why(fault)}"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            problem = f"is corrupt: {one_line(str(fault), 200)}"
        # Asking must not change the disk: the file is set aside when there is something to write.
        self._damaged = True
        self._tell(f"{self.store_path} {problem}; nothing is known to be in quarantine")
        return {}

    def _row(self, at: float, *cells: str) -> None:
        row = "| " + " | ".join((utc(at), *map(_cell, cells))) + " |"
        try:
            os.makedirs(os.path.dirname(self.log_path), exist_ok=True)
            text = _lead_in(self.log_path) + row
            files.append_line(self.log_path, text.encode("utf-8"), mode=0o644)
        except OSError as fault:
            self._tell(f"{self.log_path} cannot be written: {files.why(fault)}")

    def _tell(self, message: str) -> None:
        if self._report is not None:
            self._report(message)


def _cell(text: str) -> str:
    """One cell of a Markdown table: a pipe would end it, a backslash could undo the escape."""
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _lead_in(path: str) -> str:
    """What has to stand before the next row, so that it belongs to a table."""
    try:
        with open(files.open_regular(path), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
            lines = file.read().decode("utf-8", "replace").rstrip().splitlines()
    except FileNotFoundError:
        lines = []
    if not lines:
        return f"{_TITLE}\n{_HEADER}"
    return "" if lines[-1].startswith("|") else f"\n{_HEADER}"
