"""What a component's process is started with: argv, environment variables, identity."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from msgspec import Struct

from razar.config.model import Component
from razar.launchers.base import LaunchSpec

__all__ = ["WITHHELD", "Interpreter", "inherited", "launch_spec", "log_path"]

#: Variables RAZAR uses for itself. A component gets one only if its own ``env`` asks for it.
WITHHELD: frozenset[str] = frozenset(
    {"CROWN_TOKEN", "KIMI2_API_KEY", "AIRSTAR_API_KEY", "RSTAR_API_KEY", "NOTIFY_SOCKET", "TRACEPARENT"}
)
_PYTHONS = frozenset({"python", "python3"})


class Interpreter(Struct, frozen=True):
    """The Python of a layer. ``bin`` is the folder of its scripts, None for RAZAR's own interpreter."""

    python: str
    bin: str | None = None


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every component inherits from the environment RAZAR was started in.

    Python components write unbuffered, so that their last lines are in the log when they die.
    """
    env = {
        name: value
        for name, value in environ.items()
        if name not in WITHHELD and not name.startswith("RAZAR_CONNECTOR_")
    }
    env.setdefault("PYTHONUNBUFFERED", "1")
    return env


def log_path(logs: str, component: str) -> str:
    """Where the output of a component goes."""
    return os.path.join(logs, "components", component, "current.log")


def launch_spec(
    component: Component,
    incarnation: int,
    *,
    mission: str,
    boot_id: str,
    logs: str,
    interpreter: Interpreter | None,
    environ: Mapping[str, str],
    notify_socket: str | None = None,
    traceparent: str | None = None,
) -> LaunchSpec:
    """Put together everything one incarnation is started with.

    ``python`` as the program means the layer's interpreter; without one it is RAZAR's own. The
    folder of the layer's scripts comes first on PATH. ``environ`` is what :func:`inherited` returned.
    """
    layer = interpreter or Interpreter(sys.executable)
    # Begins with the boot's id: who carries it can be told even if its start was never written down.
    nonce = f"{boot_id}-{os.urandom(8).hex()}"
    env = dict(environ)
    if layer.bin is not None:
        env["PATH"] = layer.bin + os.pathsep + env.get("PATH", os.defpath)
        env["VIRTUAL_ENV"] = os.path.dirname(layer.bin)
        env.pop("PYTHONHOME", None)
    env |= component.env
    env |= {
        "RAZAR_MISSION": mission,
        "RAZAR_COMPONENT": component.id,
        "RAZAR_LAYER": component.layer,
        "RAZAR_INCARNATION": str(incarnation),
        "RAZAR_NONCE": nonce,
    }
    if notify_socket is not None:
        env["NOTIFY_SOCKET"] = notify_socket
    if traceparent is not None:
        env["TRACEPARENT"] = traceparent
    program = layer.python if component.argv[0] in _PYTHONS else component.argv[0]
    return LaunchSpec(
        component=component.id,
        incarnation=incarnation,
        argv=(program, *component.argv[1:]),
        cwd=component.cwd,
        env=env,
        log=log_path(logs, component.id),
        nonce=nonce,
        limits=component.limits,
    )
