"""rStar: completions of a served rStar2 model, for which the payload holds the prompt."""

from __future__ import annotations

from typing import Any

from agents.razar.providers.call import Provider, Result, call

__all__ = ["PROVIDER", "invoke"]

PROVIDER = Provider(
    name="RStar",
    endpoint_variable="RSTAR_ENDPOINT",
    key_variable="RSTAR_API_KEY",
    recording="rstar_completion.json",
    model_variable="RSTAR_MODEL",
    suffix="/completions",
)


def invoke(name: str, endpoint: str | None, payload: Any, token: str | None) -> Result:
    """Send a payload; see :func:`agents.razar.providers.call.call`."""
    return call(PROVIDER, name, endpoint, payload, token)
