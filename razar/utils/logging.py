"""The log of repair attempts, ``razar_ai_invocations.json``: JSON lines, append-only."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Collection
from typing import Any

import msgspec

from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.redaction import redact
from razar.utils.times import utc_micro

__all__ = ["FILE_NAME", "load_invocations", "log_invocation", "use_folder"]

FILE_NAME = "razar_ai_invocations.json"
#: Longest line that is read, in bytes.
LINE_LIMIT = 1024 * 1024
#: Characters of an error or reason that are kept.
TEXT_LIMIT = 16_000

_folder = "logs"


def use_folder(folder: str) -> None:
    """Set the folder of the log for this process; until then it is ``logs`` in the working directory."""
    global _folder
    _folder = folder


def log_invocation(
    component: str,
    attempt: int,
    error: str,
    patched: bool,
    *,
    agent: str | None = None,
    agent_original: str | None = None,
    event: str | None = None,
    retries: int | None = None,
    reason: str | None = None,
    patch_id: str | None = None,
    seconds: float | None = None,
    tokens: int | None = None,
    timestamp: float | None = None,
    log_path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Append one record, move the counters, and return the record.

    ``attempt`` counts from 1 and is consecutive per component; ``patched`` is true only if the
    component came back healthy; ``seconds`` is how long the attempt took; ``timestamp`` is epoch
    seconds, default now. Only attempts move the counters (``event`` None or ``attempt``), each
    once: every attempt after the first is one retry. A disk that refuses the record is a warning.
    """
    from razar import metrics

    at = time.time() if timestamp is None else timestamp
    if agent is not None and agent_original is None and agent != agent.lower():
        agent_original = agent
    record: dict[str, Any] = {
        "component": component,
        "attempt": attempt,
        "error": _text(error),
        "patched": patched,
        "status": "success" if patched else "failure",
        "agent": None if agent is None else agent.lower(),
        "agent_original": agent_original,
        "event": event,
        "retries": retries,
        "reason": None if reason is None else _text(reason),
        "patch_id": patch_id,
        "seconds": seconds,
        "tokens": tokens,
        "timestamp": at,
        "timestamp_iso": utc_micro(at),
    }
    record = {key: value for key, value in record.items() if value is not None}
    if event in (None, "attempt"):
        labels = (component.lower(),)
        outcome = "success" if patched else "failure"
        metrics.DEFAULT.count(f"razar_ai_invocation_{outcome}_total", labels)
        metrics.DEFAULT.count("razar_ai_invocation_retries_total", labels, 1.0 if attempt > 1 else 0.0)
        if seconds is not None:
            metrics.DEFAULT.observe("razar_ai_retry_duration_seconds", labels, seconds)
    path = _path(log_path)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        files.append_line(path, encode_json(record))
    except OSError as fault:
        import logging

        logging.getLogger("razar.invocations").warning("%s cannot be written: %s", path, files.why(fault))
    return record


def load_invocations(
    component: str | None = None,
    limit: int | None = None,
    *,
    events: Collection[str] | None = None,
    log_path: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """The last ``limit`` records (default all) of a component (default all), oldest first.

    ``events`` keeps only these kinds; a record without ``event`` is an ``attempt``. Lines that
    are no records are skipped; a missing or unreadable file is an empty log.
    """
    if limit is not None and limit <= 0:
        return []
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    # Most lines are about others and need not be decoded.
    wanted = msgspec.json.encode(component) if component is not None and component.isascii() else None
    try:
        for _, line, _ in files.iterate_lines(_path(log_path), LINE_LIMIT):
            if wanted is not None and wanted not in line:
                continue
            record = _decode(line)
            if record is None or (component is not None and record["component"] != component):
                continue
            if events is None or record.get("event", "attempt") in events:
                found.append(record)
    except OSError:
        pass
    return list(found)


def _text(text: str) -> str:
    # Masked before it is cut, so that no secret is cut in two.
    return redact(text[: 10 * TEXT_LIMIT])[:TEXT_LIMIT]


def _path(log_path: str | os.PathLike[str] | None) -> str:
    return os.path.join(_folder, FILE_NAME) if log_path is None else os.fspath(log_path)


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("component"), str) else None
