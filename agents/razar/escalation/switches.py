"""The operator's switches, as files below ``logs/repairs``: pause, and resume."""

from __future__ import annotations

import os
import time

from razar.utils import files
from razar.utils.redaction import one_line

__all__ = ["pause", "paused", "resume", "resumed_at"]

_PAUSED = "paused"
_RESUMED = "resumed"


def pause(logs: str, reason: str = "") -> None:
    """Have no repair begin from now on; one that is under way goes on. Raises OSError."""
    path = _path(logs, _PAUSED)
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    files.replace(path, one_line(reason, 500).encode("utf-8", "backslashreplace"))


def resume(logs: str) -> bool:
    """Let repairs begin again and close every breaker; tells whether they were paused. Raises OSError."""
    path = _path(logs, _RESUMED)
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    files.replace(path, repr(time.time()).encode())
    try:
        os.unlink(_path(logs, _PAUSED))
    except FileNotFoundError:
        return False
    return True


def paused(logs: str) -> str | None:
    """Why repairs are paused, an empty text if no reason was given; None if they are not."""
    try:
        data = files.read_limited(_path(logs, _PAUSED), 4096)
    except FileNotFoundError:
        return None
    except OSError as fault:
        return f"{_path(logs, _PAUSED)} cannot be read: {files.why(fault)}"
    return one_line((data or b"").decode("utf-8", "replace"), 500)


def resumed_at(logs: str) -> float:
    """When an operator last resumed, in epoch seconds; 0 for never."""
    try:
        return os.stat(_path(logs, _RESUMED)).st_mtime
    except OSError:
        return 0.0


def _path(logs: str, name: str) -> str:
    return os.path.join(logs, "repairs", name)
