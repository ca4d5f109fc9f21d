"""Values for property tests: any JSON, and sound missions with something changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

__all__ = ["ANY_JSON", "MISSION", "changed", "texts"]

SNIPPETS = [
    "",
    "a",
    "python",
    "sh",
    "/",
    "./x",
    "http://h:1/",
    "tcp://h:1",
    "cmd: sh",
    "log: (",
    "notify",
    "exit",
    "\0",
]
SNIPPETS += [
    "${A}",
    "${",
    "$$",
    "10s",
    "1M",
    "true",
    "a\n",
    "é",
    "-1",
    "../..",
    "'",
    "\\",
    "healthy",
    "u:p@h",
    "\U0001f600",
]


def texts() -> st.SearchStrategy[str]:
    """Return texts that mean something to the configuration, and any others."""
    return st.sampled_from(SNIPPETS) | st.text(max_size=12)


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4),
    max_leaves=8,
)

#: A sound mission with every key.
MISSION: dict[str, Any] = {
    "mission": "demo",
    "ignition": "parallel",
    "crown": {"url": "ws://h:1", "policy": "optional", "timeout": "3s", "required_model": None},
    "repair": {
        "ladder": ["kimi2"],
        "attempts": 3,
        "budget": {"tokens": 5, "seconds": 9.5},
        "approval": "ask",
    },
    "components": [
        {"id": "a", "layer": "core", "entrypoint": "sh -c 'exit 0'", "health": "tcp://h:1", "kind": "task"},
        {
            "id": "b",
            "layer": "core",
            "entrypoint": ["sh", "x y"],
            "health": {
                "cmd": "sh -c true",
                "interval": 2,
                "timeout": "250ms",
                "failures": 2,
                "expect": "true",
            },
            "depends_on": ["a", {"id": "c", "condition": "started"}],
            "criticality": "optional",
            "when": "true",
            "env": {"A": "${HOME}", "B": 5},
            "cwd": ".",
            "restart": {"policy": "always", "backoff": 1, "limit": 3},
            "stop": {"signal": "INT", "grace": "1s"},
            "retries": 0,
            "repair": {"paths": ["src/*"], "tests": ["sh -c true", ["sh"]], "approval": "never"},
            "limits": {"memory": "1G", "cpu": 0.5, "files": 64, "processes": 5},
        },
        {"id": "c", "layer": "core", "entrypoint": "sh", "health": "/tmp/x"},
    ],
}


def _places(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, item in items:
        yield (*at, step)
        yield from _places(item, (*at, step))


@st.composite
def changed(draw: st.DrawFn, base: dict[str, Any]) -> dict[str, Any]:
    """Replace, remove, rename or add something in one to three places of ``base``."""
    value = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent: Any = value
        for step in path:
            parent = parent[step]
        action = draw(st.sampled_from(["replace", "remove", "rename"]))
        if action == "replace":
            parent[last] = draw(ANY_JSON)
        elif action == "remove":
            del parent[last]
        elif isinstance(parent, dict):
            parent[draw(texts())] = parent.pop(last)
        else:
            parent.insert(last, draw(ANY_JSON))
    return value
