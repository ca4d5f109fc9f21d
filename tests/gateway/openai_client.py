"""The gateway before a few servants, and the openai package as its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai

from tests.gateway.support import Gateway, Servant, gateway, servant

__all__ = ["TOOLS", "TRACE", "USER", "client", "crowned"]

USER: list[Any] = [{"role": "user", "content": "hello there"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "fix", "parameters": {"type": "object"}}}]
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def client(at: Gateway, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{at.url}/v1", api_key="any", max_retries=0, timeout=20, **options)


@contextmanager
def crowned(folder: Path, count: int = 2, **config: Any) -> Iterator[tuple[Gateway, list[Servant]]]:
    """Run servants named a, b, … and a gateway before them; a is preferred by a rule."""
    with ExitStack() as stack:
        servants = [stack.enter_context(servant()) for _ in range(count)]
        entries = [
            {"name": chr(97 + at), "url": each.url, "model": f"model-{chr(97 + at)}", "timeout": 1.0}
            for at, each in enumerate(servants)
        ]
        rules = [{"name": "a first", "use": ["a"]}]
        kimicho = config.pop("kimicho", False)
        whole = {"servants": entries, "rules": rules, "kimicho": kimicho} | config
        yield stack.enter_context(gateway(folder, whole)), servants
