"""AirStar: a second endpoint of the same form, with its own key."""

from __future__ import annotations

from typing import Any

from agents.razar.providers.call import Provider, Result, call

__all__ = ["PROVIDER", "invoke"]

PROVIDER = Provider(
    name="AirStar",
    endpoint_variable="AIRSTAR_ENDPOINT",
    key_variable="AIRSTAR_API_KEY",
    recording="airstar_completion.json",
    model_variable="AIRSTAR_MODEL",
)


def invoke(name: str, endpoint: str | None, payload: Any, token: str | None) -> Result:
    """Send a payload; see :func:`agents.razar.providers.call.call`."""
    return call(PROVIDER, name, endpoint, payload, token)
