"""Starts the model that Crown does not offer, beside the boot: an outcome to record, never a failure."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Literal

from razar.config.model import CrownSettings
from razar.crown.result import clean
from razar.launchers.base import LaunchError
from razar.launchers.processes import Completed, run
from razar.utils.files import MODE, rotate, why
from razar.utils.redaction import Redactor
from razar.utils.times import utc

__all__ = ["TIMEOUT", "find_launcher", "launch_model"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

#: How long a launcher may take, in seconds, and how much sooner it is told to give up by itself.
TIMEOUT = 900.0
MARGIN = 30.0
#: Size from which the log of the launches is rotated, in bytes.
LOG_LIMIT = 1 << 20

#: Exit statuses of a launcher that are no failure of its own (sysexits.h): what it needs is missing
#: (EX_UNAVAILABLE), the model is still loading (EX_TEMPFAIL).
_OUTCOMES: dict[int, Literal["launched", "unavailable", "timeout"]] = {
    0: "launched",
    69: "unavailable",
    75: "timeout",
}


def find_launcher(settings: CrownSettings, root: str) -> str:
    """Return the launcher's path: the configured one, the mission's own, or the one in this package."""
    if settings.model_launcher is not None:
        return settings.model_launcher
    own = os.path.join(root, "scripts", "crown_model_launcher.sh")
    if os.path.isfile(own):
        return own
    return os.path.join(_PACKAGE, "data", "crown_model_launcher.sh")


async def launch_model(
    settings: CrownSettings,
    *,
    model: str,
    root: str,
    logs: str,
    environ: Mapping[str, str],
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Run the launcher to its end and return an entry of ``model_launches`` for the state file.

    ``status`` is ``launched`` (the model answers), ``unavailable`` (something it needs is not
    installed), ``timeout`` (still loading) or ``failed``; ``detail`` is its last line unless it was
    launched. ``returncode`` is None if no process was started, 128 plus its number for a signal.
    ``timeout`` is in seconds; a launcher that takes longer is killed with all its children.
    """
    launcher = find_launcher(settings, root)
    log = os.path.join(logs, "crown_model_launcher.log")
    started = time.time()
    result: dict[str, Any] = {
        "model": model,
        "status": "failed",
        "returncode": None,
        "started": utc(started),
        "finished": None,
        "log": log,
    }
    try:
        completed = await _run(launcher, model, root, log, _environment(environ, logs, timeout), timeout)
    except LaunchError as error:
        detail = str(error)
    except OSError as error:
        detail = f"{log} cannot be written: {why(error)}"
    else:
        result["returncode"] = _returncode(completed)
        if completed.timed_out:
            result["status"] = "timeout"
            detail = f"killed after {timeout:g} s"
        else:
            result["status"] = _OUTCOMES.get(result["returncode"], "failed")
            detail = _last_line(completed.output)
    result["finished"] = utc(time.time())
    if result["status"] != "launched":
        result["detail"] = clean(Redactor(environ)(detail), 500)
    return result


async def _run(
    launcher: str, model: str, root: str, log: str, environ: Mapping[str, str], timeout: float
) -> Completed:
    if not os.path.isfile(launcher):
        raise LaunchError(f"there is no model launcher at {launcher}")
    os.makedirs(os.path.dirname(log), mode=0o750, exist_ok=True)
    if os.path.isfile(log) and os.path.getsize(log) > LOG_LIMIT:
        rotate(log, 1)
    # In a wheel a script loses its mode.
    shell = ["/bin/sh"] if launcher.endswith(".sh") and not os.access(launcher, os.X_OK) else []
    argv = [*shell, launcher, model]
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
    with open(fd, "ab", buffering=0) as file:
        os.fchmod(fd, MODE)
        file.write(f"[{utc(time.time())}] {launcher} {model}\n".encode(errors="replace"))
        # What it leaves running is the model: that is not swept away.
        return await run(argv, cwd=root, env=environ, stdout=file, timeout=timeout, capture=True, sweep=False)


def _environment(environ: Mapping[str, str], logs: str, timeout: float) -> dict[str, str]:
    """Add where the model's pid and log go, and when to stop waiting for it."""
    wait = str(max(1, int(timeout - min(MARGIN, timeout / 4))))
    return {"GLM_STATE_DIR": os.path.join(logs, "models"), "GLM_WAIT": wait} | dict(environ)


def _returncode(completed: Completed) -> int | None:
    if completed.signal is None:
        return completed.code
    import signal

    name = f"SIG{completed.signal}"
    return 128 + signal.Signals[name] if name in signal.Signals.__members__ else None


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
