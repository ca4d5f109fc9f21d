"""URLs and host:port texts of probes and of Crown, checked without a network."""

from __future__ import annotations

import re

from razar.config.faults import Problem, quote

__all__ = ["check_host_port", "check_url"]

# Names are ASCII, as they go into a Host header; an IPv6 address stands in brackets.
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?")


def check_url(text: str, written: str, form: str) -> None:
    """Raise Problem unless ``text`` is a URL with a host and a sound port.

    ``written`` is the text before variables were expanded, for messages.
    """
    rest = text.partition("://")[2]
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    match = _HOST_PORT.fullmatch(authority.rpartition("@")[2])
    if match is None or not text.isascii() or not text.isprintable() or " " in text:
        raise Problem(quote(written), f"{form}, in ASCII and without spaces")
    _check_port(match.group(1), written)


def check_host_port(text: str, written: str, form: str) -> None:
    """Raise Problem unless ``text`` is ``host:port``."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or match.group(1) is None:
        raise Problem(quote(written), form)
    _check_port(match.group(1), written)


def _check_port(port: str | None, written: str) -> None:
    if port is not None and not (len(port) <= 6 and 1 <= int(port[1:]) <= 65535):
        raise Problem(quote(written), "a port from 1 to 65535")
