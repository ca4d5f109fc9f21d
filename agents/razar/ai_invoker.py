"""The remote agents under the names by which they are called."""

from __future__ import annotations

from typing import Any

from agents.razar.providers import airstar, kimi2, rstar
from agents.razar.providers.call import Result

__all__ = ["_invoke_airstar", "_invoke_kimi2", "_invoke_rstar"]


def _invoke_kimi2(name: str, endpoint: str | None, payload: Any, token: str | None = None) -> Result:
    """POST a payload to Kimi K2; see :func:`agents.razar.providers.call.call`."""
    return kimi2.invoke(name, endpoint, payload, token)


def _invoke_airstar(name: str, endpoint: str | None, payload: Any, token: str | None = None) -> Result:
    """POST a payload to AirStar; see :func:`agents.razar.providers.call.call`."""
    return airstar.invoke(name, endpoint, payload, token)


def _invoke_rstar(name: str, endpoint: str | None, payload: Any, token: str | None = None) -> Result:
    """POST a payload to rStar; see :func:`agents.razar.providers.call.call`."""
    return rstar.invoke(name, endpoint, payload, token)
