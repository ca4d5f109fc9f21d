"""Which service answers which kind of request."""

from __future__ import annotations


def parse_routes(text: str) -> dict[str, str]:
    """Read ``kind=URL`` pairs, separated by commas."""
    routes = {}
    for pair in text.split(","):
        kind, url = pair.split(":", 1)
        routes[kind.strip()] = url.strip()
    return routes


def route(routes: dict[str, str], kind: str) -> str:
    """Return the URL for a kind of request; unknown kinds go where chat goes."""
    return routes.get(kind, routes["chat"])
