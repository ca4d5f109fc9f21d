"""Which interpreter a layer gets: one that is there; none is ever downloaded."""

from __future__ import annotations

import os
import re

from razar.environments.model import LayerError
from razar.environments.uv import Uv, UvError

__all__ = ["find_interpreter"]

_TIMEOUT = 60.0
_VERSION = re.compile(r"^cpython-(\d+\.\d+\.\d+\w*)[-+]", re.MULTILINE)


async def find_interpreter(uv: Uv, python: str) -> str:
    """Return the path of an interpreter that ``python`` allows; raise LayerError if there is none."""
    request = python.replace(" ", "")
    try:
        output = await uv(
            "looking for an interpreter",
            "python",
            "find",
            "--no-project",
            "--system",
            request,
            timeout=_TIMEOUT,
            quiet=True,
        )
    except UvError as error:
        # A version manager's placeholder that leads nowhere counts as no interpreter.
        if "No interpreter found" not in error.output and "Failed to inspect" not in error.output:
            raise
        raise LayerError(
            f"it asks for Python {python}, and no such interpreter was found{await _found(uv)}; install one, "
            "or change its python in razar_env.yaml (RAZAR downloads no interpreter)"
        ) from None
    paths = [line for line in output.splitlines() if line.startswith("/") and os.access(line, os.X_OK)]
    if not paths:
        raise LayerError(f"uv named no interpreter for Python {python}")
    return paths[-1]


async def _found(uv: Uv) -> str:
    try:
        output = await uv(
            "looking for an interpreter", "python", "list", "--only-installed", timeout=_TIMEOUT, quiet=True
        )
    except UvError:
        return ""
    versions = sorted(
        set(_VERSION.findall(output)), key=lambda text: [int(n) for n in re.findall(r"\d+", text)]
    )
    return f" (found: {', '.join(versions)})" if versions else ""
