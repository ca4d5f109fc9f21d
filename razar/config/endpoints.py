"""URLs and host:port texts of probes and of Crown, checked without a network."""

from __future__ import annotations

import re

from razar.config.faults import Problem

__all__ = ["check_host_port", "check_url"]

_HOST = r"(?:\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._-]+)?\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?)"
_HOST_PORT = re.compile(rf"({_HOST}):([0-9]+)", re.ASCII)
# RFC 3986 without what RAZAR has no use for: names are ASCII, as they go into a Host header.
_URL = re.compile(
    rf"[A-Za-z]+://(?:[\x21-\x2e\x30-\x3e\x41-\x7e]*@)?({_HOST})(?::([0-9]+))?(?:[/?#][\x21-\x7e]*)?",
    re.ASCII,
)


def check_url(text: str, shown: str, form: str) -> None:
    """Raise Problem unless ``text`` is a URL with a host and a sound port; ``shown`` is what messages show."""
    match = _URL.fullmatch(text)
    if match is None:
        raise Problem(shown, f"{form}, in ASCII and without spaces")
    _check_port(match.group(2), shown)


def check_host_port(text: str, shown: str, form: str) -> None:
    """Raise Problem unless ``text`` is ``host:port``; an IPv6 address stands in brackets."""
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise Problem(shown, form)
    _check_port(match.group(2), shown)


def _check_port(port: str | None, shown: str) -> None:
    if port is not None and not (len(port) <= 5 and 1 <= int(port) <= 65535):
        raise Problem(shown, "a port from 1 to 65535")
