"""What an answer without success means, by status and by the type the service gives its error.

The types are those of https://platform.kimi.ai/docs/api/errors; vLLM, SGLang and most gateways use the
same form, ``{"error": {"type", "message"}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from agents.razar.errors import (
    AgentError,
    AuthenticationError,
    ContentFilteredError,
    ForbiddenError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    RedirectError,
    RequestRefusedError,
    ServerError,
    TooLongError,
    UnknownModelError,
)
from agents.razar.web.own_keys import OwnKeys
from razar.utils.redaction import one_line

__all__ = ["LONGEST_WAIT", "explain"]

#: No service makes us wait longer than this, in seconds.
LONGEST_WAIT = 600.0
#: Characters of a service's own words that are passed on.
_SAID = 300

_QUOTA_TYPES = frozenset({"exceeded_current_quota_error", "insufficient_quota", "billing_hard_limit_reached"})
#: For gateways that pass on the words and not the type.
_QUOTA_WORDS = re.compile(
    r"(?i)insufficient (?:account )?balance|exceeded (?:your |the )?current (?:token )?quota|account.{0,80}suspended"
)
_LENGTH_WORDS = re.compile(
    r"(?i)maximum context length|context[ _]length|token length too long|message size|exceeded model token limit"
    r"|prompt is too long|too many tokens"
)


def explain(
    service: str, shown: str, status: int, headers: Mapping[str, str], body: bytes, keys: OwnKeys
) -> AgentError:
    """Return the error that an answer with a status outside 200 to 299 stands for."""
    type_, said = _told(body)
    kind, what = _kind(status, type_, said)
    said = one_line(keys.text(said), _SAID)
    return kind(
        f"{service} at {shown} {what} (HTTP {status})" + (f": {said}" if said else ""),
        status=status,
        code=one_line(keys.text(type_), 64) or None,
        retry_after=_wait(headers) if kind.retryable else None,
    )


def _kind(status: int, type_: str, said: str) -> tuple[type[AgentError], str]:
    if 300 <= status < 400:
        return RedirectError, "answered with a redirect, and none is followed: configure its target"
    if status == 402 or (status == 429 and (type_ in _QUOTA_TYPES or _QUOTA_WORDS.search(said))):
        return QuotaError, "says that the balance is used up or the account is suspended"
    if status == 429:
        if type_ == "engine_overloaded_error":
            return OverloadedError, "has no capacity now"
        return RateLimitError, "takes no more requests for now"
    if type_ == "content_filter":
        return ContentFilteredError, "refused the content"
    if status == 413 or (status in (400, 422) and _LENGTH_WORDS.search(said)):
        return TooLongError, "does not take a request of this length"
    plain: dict[int, tuple[type[AgentError], str]] = {
        401: (AuthenticationError, "does not accept the key"),
        403: (ForbiddenError, "does not permit this with this key"),
        404: (UnknownModelError, "knows no such model or path; the endpoint must be the full URL"),
        408: (ServerError, "took too long, it says"),
        501: (RequestRefusedError, "cannot do this"),
        503: (OverloadedError, "is not available now"),
        505: (RequestRefusedError, "cannot do this"),
    }
    if status in plain:
        return plain[status]
    if 500 <= status < 600:
        return ServerError, "failed"
    return RequestRefusedError, "refused the request"


def _told(body: bytes) -> tuple[str, str]:
    """The type and the words of an error; empty where the body has another form."""
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    fault = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(fault, str):
        return "", fault
    if not isinstance(fault, dict):
        return "", ""
    types = [fault.get("type"), fault.get("code")]
    words = [fault.get("message"), fault.get("detail")]
    return _first(types), _first(words)


def _first(values: list[Any]) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After`` (RFC 9110, 10.2.3), else of ``X-RateLimit-Reset``."""
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None and text:
        seconds = _until(text)
    if seconds is None:
        seconds = _seconds(headers.get("x-ratelimit-reset", "").strip())
        if seconds is not None and seconds > 86_400:
            return None  # An instant, of a clock that need not be ours.
    return None if seconds is None else min(seconds, LONGEST_WAIT)


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", text, re.ASCII) else None


def _until(text: str) -> float | None:
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError):
        return None
