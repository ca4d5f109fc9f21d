"""A small mission that fails, as a task for an agent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from agents.razar.agent import Source, Task

__all__ = ["EDIT", "NEW", "OLD", "call", "completion", "task_in"]

OLD = "port = 1\n"
NEW = "port = 2\n"
EDIT = {"path": "src/server.py", "old": OLD, "new": NEW}


def task_in(root: Path, **changes: Any) -> Task:
    """Write the mission into a folder and describe its failure."""
    files = {"src/server.py": f"import socket\n\n{OLD}print(port)\n", "notes.md": "# Notes\n"}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "logs").mkdir(exist_ok=True)
    (root / "logs" / "razar.log").write_text("nobody is to see this\n")
    text = files["src/server.py"]
    values: dict[str, Any] = {
        "component": "crown_router",
        "attempt": 1,
        "instructions": "Repair the component.",
        "report": "error: the port is taken",
        "sources": (
            Source(path="src/server.py", text=text, sha256=hashlib.sha256(text.encode()).hexdigest()),
        ),
        "root": str(root),
        "logs": str(root / "logs"),
        "paths": ("src/**",),
        **changes,
    }
    return Task(**values)


def call(*edits: dict[str, Any], name: str = "propose_patch") -> dict[str, Any]:
    """A tool call as chat completions hold it."""
    proposal = {"summary": "Another port.", "root_cause": "It is taken.", "edits": list(edits or (EDIT,))}
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(proposal)}}


def completion(*calls: dict[str, Any], finish: str = "tool_calls", tokens: int | None = 30) -> dict[str, Any]:
    """An answer of chat completions."""
    message = {"role": "assistant", "content": None, "tool_calls": list(calls or (call(),))}
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens - 10, "completion_tokens": 10}}
    return {"model": "a-model", "choices": [{"message": message, "finish_reason": finish}], **usage}
