"""Which repair agents there are, and in which order they are asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from agents.razar.agent import RepairAgent
from agents.razar.errors import AgentError, ConfigurationError
from razar.config.model import RUNGS, RepairSettings

__all__ = ["Roster", "configured", "roster"]

_MEMORY = "memory"
#: Any of these makes a rung configured; the first is the one to name where none is set.
_VARIABLES: dict[str, tuple[str, ...]] = {
    "opencode": ("OPENCODE_BIN", "OPENCODE_BACKEND"),
    "acp": ("RAZAR_ACP_COMMAND",),
    "kimi2": ("KIMI2_ENDPOINT",),
    "airstar": ("AIRSTAR_ENDPOINT",),
    "rstar": ("RSTAR_ENDPOINT",),
}
#: Of these the first configured one works; the others follow it, one after the other.
_FIRST = ("opencode", "acp", "kimi2")
_AFTER = ("airstar", "rstar")


class Roster(Struct, frozen=True, kw_only=True):
    """The agents in the ladder's order; ``problems`` says why rungs of it are not among them."""

    agents: tuple[RepairAgent, ...]
    problems: tuple[ConfigurationError, ...] = ()


def configured(
    environ: Mapping[str, str],
    ladder: Iterable[str] | None = None,
    settings: RepairSettings | None = None,
) -> list[RepairAgent]:
    """The agents that can be asked, in order, without the memory; see :func:`roster`."""
    return list(roster(environ, ladder, settings).agents)


def roster(
    environ: Mapping[str, str],
    ladder: Iterable[str] | None = None,
    settings: RepairSettings | None = None,
) -> Roster:
    """Make the agents of a ladder, else of ``settings.ladder``, else of what the environment configures.

    What cannot be made is a problem and is left out; nothing is raised.
    """
    if ladder is None and settings is not None:
        ladder = settings.ladder
    agents: list[RepairAgent] = []
    problems: list[ConfigurationError] = []
    for name in dict.fromkeys(_usual(environ) if ladder is None else ladder):
        if name == _MEMORY:
            continue
        try:
            agents.append(_made(name, environ))
        except ConfigurationError as problem:
            problems.append(problem)
        except AgentError as problem:
            problems.append(ConfigurationError(str(problem)))
    return Roster(agents=tuple(agents), problems=tuple(problems))


def _usual(environ: Mapping[str, str]) -> list[str]:
    first = [name for name in _FIRST if _set(environ, name)][:1]
    return first + [name for name in _AFTER if _set(environ, name)]


def _set(environ: Mapping[str, str], name: str) -> bool:
    return any(environ.get(variable, "").strip() for variable in _VARIABLES[name])


def _made(name: str, environ: Mapping[str, str]) -> RepairAgent:
    if name not in _VARIABLES:
        from difflib import get_close_matches

        near = get_close_matches(name, RUNGS, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(RUNGS)}"
        raise ConfigurationError(f'no agent is called "{name[:100]}"; {hint}')
    if not _set(environ, name) and not _on_path(environ, name):
        raise ConfigurationError(f"the agent {name} is not configured: {_VARIABLES[name][0]} is not set")
    return _MAKERS[name](environ)


def _on_path(environ: Mapping[str, str], name: str) -> bool:
    """An opencode on PATH is enough for a ladder that names it."""
    import shutil

    return name == "opencode" and shutil.which(name, path=environ.get("PATH", os.defpath)) is not None


def _opencode(environ: Mapping[str, str]) -> RepairAgent:
    from agents.razar.providers.opencode import opencode_agent

    return opencode_agent(environ)


def _acp(environ: Mapping[str, str]) -> RepairAgent:
    from agents.razar.providers.acp import acp_agent

    return acp_agent(environ)


def _kimi2(environ: Mapping[str, str]) -> RepairAgent:
    from agents.razar.providers.chat import kimi2_agent

    return kimi2_agent(environ)


def _airstar(environ: Mapping[str, str]) -> RepairAgent:
    from agents.razar.providers.chat import airstar_agent

    return airstar_agent(environ)


def _rstar(environ: Mapping[str, str]) -> RepairAgent:
    from agents.razar.providers.completions import rstar_agent

    return rstar_agent(environ)


_MAKERS: dict[str, Callable[[Mapping[str, str]], RepairAgent]] = {
    "opencode": _opencode,
    "acp": _acp,
    "kimi2": _kimi2,
    "airstar": _airstar,
    "rstar": _rstar,
}
