"""Whether Crown takes a connection: the websocket is opened and closed, no brief is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

__all__ = ["check_crown"]


def check_crown(url: str, environ: Mapping[str, str], timeout: float) -> tuple[str, int | None, str | None]:
    """Connect to a Crown as the handshake does.

    Returns the URL without credentials, the HTTP status if one came, and what is wrong or None.
    """
    from razar.crown.client import parse_url, reach
    from razar.crown.no_answer import NoAnswerError

    try:
        target = parse_url(url)
    except ValueError as fault:
        return "CROWN_WS_URL", None, f"CROWN_WS_URL is no URL of a Crown: {fault}"
    if not (target.secure or target.loopback or environ.get("CROWN_ALLOW_PLAINTEXT") == "1"):
        hint = "unencrypted beyond this machine: use wss://, or set CROWN_ALLOW_PLAINTEXT=1"
        return target.shown, None, hint
    try:
        asyncio.run(reach(target, token=environ.get("CROWN_TOKEN"), timeout=timeout))
    except NoAnswerError as fault:
        return target.shown, fault.http_status, str(fault)
    return target.shown, 101, None
