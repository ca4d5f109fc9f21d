"""Handing a failure over to a repair agent, and the remote agents by the names they are called by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.razar.providers import airstar, kimi2, rstar
from agents.razar.providers.call import Result

if TYPE_CHECKING:
    from agents.razar.one_handover import HandoverResult

__all__ = ["_invoke_airstar", "_invoke_kimi2", "_invoke_rstar", "handover"]


def handover(
    component: str,
    error: object,
    *,
    context: Mapping[str, Any] | None = None,
    use_opencode: bool = False,
    config_path: str | os.PathLike[str] | None = None,
) -> HandoverResult:
    """Hand a failure over, once: to memory, to what RAZAR mends itself, or to the agent whose turn it is.

    The result is true only if a patch was applied and verified: by a relaunch if a supervisor runs the
    mission, else by ``repair.tests``; without either it stays a proposal. ``context`` is added to what
    the agent is told. ``use_opencode`` makes opencode the first agent. The mission is that of
    ``config_path``, else of boot_config.json in the working folder.

    Never raises for anything an agent did. Raises TypeError for arguments of another type,
    UnknownComponentError (a LookupError), and razar.config.faults.ConfigurationError for a
    configuration that cannot be used. It blocks; inside a running event loop it uses a thread.
    """
    from agents.razar.one_handover import hand_over

    return hand_over(component, error, context=context, use_opencode=use_opencode, config_path=config_path)


def _invoke_kimi2(name: str, endpoint: str | None, payload: Any, token: str | None = None) -> Result:
    """POST a payload to Kimi K2; see :func:`agents.razar.providers.call.call`."""
    return kimi2.invoke(name, endpoint, payload, token)


def _invoke_airstar(name: str, endpoint: str | None, payload: Any, token: str | None = None) -> Result:
    """POST a payload to AirStar; see :func:`agents.razar.providers.call.call`."""
    return airstar.invoke(name, endpoint, payload, token)


def _invoke_rstar(name: str, endpoint: str | None, payload: Any, token: str | None = None) -> Result:
    """POST a payload to rStar; see :func:`agents.razar.providers.call.call`."""
    return rstar.invoke(name, endpoint, payload, token)
