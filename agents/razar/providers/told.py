"""What a program on this machine says went wrong with its own model, as one of our errors."""

from __future__ import annotations

import re
from typing import Any

from agents.razar.errors import AgentError, AuthenticationError, ServerError
from agents.razar.web.error_table import explain
from agents.razar.web.own_keys import OwnKeys
from razar.utils.encoding import encode_json
from razar.utils.redaction import one_line

__all__ = ["told_error"]

_STATUS = re.compile(r"(?i)\b(?:status(?:\s*code)?|http|error)\b\W{0,4}([45]\d\d)\b")
_AUTH_REQUIRED = -32000


def told_error(
    who: str, code: Any, message: str, data: Any = None, keys: OwnKeys | None = None
) -> AgentError:
    """Make an error of a message and what may have come with it.

    A status of HTTP decides, in ``data`` or in the words: then the table for services holds.
    """
    keys = keys or OwnKeys(())
    words = _words(message, data)
    status = _status(data)
    if status is None and (found := _STATUS.search(words)):
        status = int(found[1])
    if status is not None:
        body = encode_json({"error": {"type": _type(data), "message": words}})
        return explain(who, "its model", status, {}, body, keys)
    shown = one_line(keys.text(words), 300)
    if code == _AUTH_REQUIRED:
        return AuthenticationError(f"{who} is not logged in: {shown}")
    return ServerError(f"{who} failed: {shown}")


def _words(message: str, data: Any) -> str:
    words = [message]
    for name in ("message", "details", "error", "responseBody"):
        value = data.get(name) if isinstance(data, dict) else None
        if isinstance(value, str) and value not in words:
            words.append(value)
    if isinstance(data, str):
        words.append(data)
    return " ".join(words)[:2000]


def _status(data: Any) -> int | None:
    for name in ("statusCode", "status"):
        value = data.get(name) if isinstance(data, dict) else None
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _type(data: Any) -> str:
    """The type in the body of the service that was asked, if it is passed on."""
    body = data.get("responseBody") if isinstance(data, dict) else None
    found = re.search(r'"type"\s*:\s*"(\w{1,64})"', body) if isinstance(body, str) else None
    return found[1] if found else ""
