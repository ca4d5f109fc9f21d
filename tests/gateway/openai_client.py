"""The gateway before a few servants, and the openai package as its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai

from tests.gateway.support import Gateway, Servant, gateway, servant
from tests.support.waiting import until_sync

__all__ = ["TOOLS", "TRACE", "USER", "client", "crowned", "looked_at"]

USER: list[Any] = [{"role": "user", "content": "hello there"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "fix", "parameters": {"type": "object"}}}]
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def client(at: Gateway, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{at.url}/v1", api_key="any", max_retries=0, timeout=20, **options)


@contextmanager
def crowned(
    folder: Path, count: int = 2, *, hanging: str = "", **config: Any
) -> Iterator[tuple[Gateway, list[Servant]]]:
    """Run servants named a, b, … and a gateway before them; a is preferred by a rule.

    Those that hang are waited for a second, the others for as long as a busy machine may need.
    """
    with ExitStack() as stack:
        servants = [stack.enter_context(servant()) for _ in range(count)]
        entries = [
            {"name": name, "url": each.url, "model": f"model-{name}", "timeout": 1 if name in hanging else 20}
            for name, each in zip("abcdef", servants, strict=False)
        ]
        rules = [{"name": "a first", "use": ["a"]}]
        kimicho = config.pop("kimicho", False)
        whole = {"servants": entries, "rules": rules, "kimicho": kimicho} | config
        yield stack.enter_context(gateway(folder, whole)), servants


def looked_at(at: Gateway) -> None:
    """Wait for the first look at the servants: one that came back later would forgive failures."""
    until_sync(lambda: all(httpx.get(f"{at.url}/readyz").json()["servants"].values()))
