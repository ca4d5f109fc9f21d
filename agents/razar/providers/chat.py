"""Kimi K2 and AirStar as repair agents: chat completions with one tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.razar.agent import Task
from agents.razar.proposals.proposal import TOOL, tool
from agents.razar.providers import airstar, kimi2
from agents.razar.providers.material import material
from agents.razar.providers.profiles import HOSTED_MODEL, hosted, sampling
from agents.razar.providers.remote import Remote

__all__ = ["Chat", "airstar_agent", "kimi2_agent"]

#: What weights are called where nobody says otherwise: on a server of one's own.
_OPEN_WEIGHTS = "moonshotai/Kimi-K2-Instruct"
_RULES = (
    f"Answer with exactly one call of {TOOL} and nothing else. Propose the smallest change that repairs the "
    "cause. `old` must be copied from the file exactly, with enough lines around it to occur once. "
    "Do not change tests, health checks, dependencies or configuration of the build."
)


class Chat(Remote):
    """Asks ``/chat/completions``."""

    def usual_model(self) -> str:
        return HOSTED_MODEL if hosted(self._target) else _OPEN_WEIGHTS

    def payload(self, task: Task) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [
                {"role": "system", "content": f"{task.instructions}\n\n{_RULES}".strip()},
                {"role": "user", "content": material(task)},
            ],
            **sampling(self._target, self.model),
            "tools": [tool()],
            # Never forced: where thinking is on, servers refuse a call by name.
            "tool_choice": "auto",
        }


def kimi2_agent(environ: Mapping[str, str]) -> Chat:
    """Kimi K2 as the environment configures it. Raises ConfigurationError."""
    return Chat("kimi2", kimi2.PROVIDER, environ)


def airstar_agent(environ: Mapping[str, str]) -> Chat:
    """AirStar as the environment configures it. Raises ConfigurationError."""
    return Chat("airstar", airstar.PROVIDER, environ)
