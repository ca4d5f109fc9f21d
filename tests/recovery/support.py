"""A mission whose component has a bug in its source, and a server that plays the agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.agents.server import Behaviour, Server, answering, http
from tests.boot.mission import Mission

__all__ = [
    "BUG",
    "FIX",
    "MENDED",
    "SOURCE",
    "USELESS",
    "answer",
    "broken",
    "invocations",
    "mend",
    "patches",
    "proposal",
    "repaired_by",
]

#: Exits with a traceback; with the fix it says ready and stays.
SOURCE = """import time

NAMES = {"ready": "the service is up"}


def greeting():
    return NAMES["raedy"]


print("ready:", greeting(), flush=True)
while True:
    time.sleep(60)
"""
BUG = '    return NAMES["raedy"]\n'
FIX = '    return NAMES["ready"]\n'
MENDED = SOURCE.replace('NAMES["raedy"]', 'NAMES["ready"]')
#: Changes the file, and still fails.
USELESS = '    return NAMES["readyy"]\n'


def broken(folder: Path, id: str = "service", **settings: Any) -> dict[str, Any]:
    """A component that runs ``src/ID.py``, and may be repaired there."""
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / f"{id}.py").write_text(SOURCE)
    return {
        "id": id,
        "layer": "core",
        "entrypoint": ["python", f"src/{id}.py"],
        "health": "log: ^ready",
        "retries": 0,
        "repair": {"paths": [f"src/{id}.py"]},
        **settings,
    }


def proposal(id: str = "service", old: str = BUG, new: str = FIX, **more: Any) -> dict[str, Any]:
    """What an agent proposes."""
    edits = [{"path": f"src/{id}.py", "old": old, "new": new}]
    return {
        "summary": "spell the key as the table does",
        "root_cause": "a misspelt key",
        "edits": edits,
        **more,
    }


def answer(proposed: dict[str, Any], **choice: Any) -> bytes:
    """A chat completion that calls the tool."""
    call = {
        "id": "functions.propose_patch:0",
        "type": "function",
        "function": {"name": "propose_patch", "arguments": json.dumps(proposed)},
    }
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls", **choice}]
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return http({"object": "chat.completion", "model": "m", "choices": choices, "usage": usage})


def mend(*proposed: dict[str, Any]) -> Behaviour:
    """An agent that proposes these, one after the other."""
    return answering(*(answer(one) for one in proposed or (proposal(),)))


def repaired_by(mission: Mission, server: Server) -> Mission:
    """Have the mission ask this server."""
    mission.environment |= {"KIMI2_ENDPOINT": server.url(), "KIMI2_API_KEY": "key-of-the-test-agent"}
    return mission


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def invocations(mission: Mission) -> list[dict[str, Any]]:
    return _lines(mission.logs / "razar_ai_invocations.json")


def patches(mission: Mission) -> list[dict[str, Any]]:
    return _lines(mission.logs / "razar_ai_patches.json")
