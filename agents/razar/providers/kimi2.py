"""Kimi K2: chat completions, hosted by Moonshot or on vLLM and SGLang."""

from __future__ import annotations

from typing import Any

from agents.razar.providers.call import Provider, Result, call

__all__ = ["PROVIDER", "invoke"]

PROVIDER = Provider(
    name="Kimi2",
    endpoint_variable="KIMI2_ENDPOINT",
    key_variable="KIMI2_API_KEY",
    recording="kimi_k2_completion.json",
    model_variable="KIMI2_MODEL",
)


def invoke(name: str, endpoint: str | None, payload: Any, token: str | None) -> Result:
    """Send a payload; see :func:`agents.razar.providers.call.call`."""
    return call(PROVIDER, name, endpoint, payload, token)
