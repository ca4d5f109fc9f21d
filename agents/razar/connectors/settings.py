"""Which connectors there are, from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

__all__ = ["Connector", "SettingsError", "configured", "metrics_url", "token_variable"]

#: ``name=URL`` pairs, separated by commas or white space; a comma inside a URL is no separator.
VARIABLE = "RAZAR_CONNECTORS"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SEPARATOR = re.compile(r"[,\s]+(?=[^\s=/?&]*=[A-Za-z]+://)")


class SettingsError(ValueError):
    """A variable that cannot be read; the message does not repeat its value."""


class Connector(Struct, frozen=True, kw_only=True):
    """A service beside the mission that RAZAR or its operators rely on."""

    name: str
    url: str
    token: str | None = None


def token_variable(name: str) -> str:
    """The variable with a connector's key: ``RAZAR_CONNECTOR_<NAME>_TOKEN``."""
    return f"RAZAR_CONNECTOR_{name.upper().replace('-', '_')}_TOKEN"


def configured(environ: Mapping[str, str]) -> list[Connector]:
    """The connectors of RAZAR_CONNECTORS, in their order. Raises SettingsError."""
    text = environ.get(VARIABLE, "").strip(" \t\r\n,")
    found: dict[str, Connector] = {}
    for number, entry in enumerate(_SEPARATOR.split(text) if text else (), start=1):
        name, equals, url = entry.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise SettingsError(
                f"{VARIABLE}, entry {number}: expected name=URL, the name of a-z, 0-9, _ and -, "
                "for instance operator_api=https://host/health"
            )
        if name in found:
            raise SettingsError(f"{VARIABLE}, entry {number}: the name {name} is there twice")
        found[name] = Connector(name=name, url=url, token=environ.get(token_variable(name)))
    return list(found.values())


def metrics_url(environ: Mapping[str, str]) -> tuple[str, bool] | None:
    """The URL of the metrics endpoint and whether anybody configured it; None for a port chosen at the start."""
    host = environ.get("RAZAR_METRICS_HOST", "").strip()
    port = environ.get("RAZAR_METRICS_PORT", "").strip()
    if port.strip("0") == "" and port:
        return None
    # An endpoint that listens on every address listens on loopback.
    shown = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    place = f"[{shown}]" if ":" in shown else shown
    return f"http://{place}:{port or 9360}/metrics", bool(host or port)
