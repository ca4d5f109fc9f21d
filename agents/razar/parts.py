"""What a hand-over is made of, by the modules that bring the rest, and when each part is loaded.

A mission whose components work loads none of it before it has nothing else to do. Where a failure comes first,
what it takes to ask an agent is loaded then, and all else while the agent thinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from threading import Thread

__all__ = ["ANSWERING", "ASKING", "load", "load_beside"]

#: What it takes to ask somebody.
ASKING = (
    "agents.razar.handover",
    "agents.razar.rungs",
    "agents.razar.roster",
    "agents.razar.providers.chat",
    "agents.razar.web.http_async",
    "razar.failure_context",
)
#: What it takes once there is an answer.
ANSWERING = (
    "http.client",
    "agents.razar.proposals.tool_calls",
    "agents.razar.carrying",
    "agents.razar.records.settling",
)


def load(names: Sequence[str]) -> None:
    """Import modules."""
    for name in names:
        import_module(name)


def load_beside() -> None:
    """Import what an answer takes, in a thread: the one that waits for the answer must not be late for it."""
    Thread(target=load, args=(ANSWERING,), name="razar-parts").start()
