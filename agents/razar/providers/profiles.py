"""Which parameters a model takes, and what to do when it refuses one."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agents.razar.web.endpoint import Target
from razar.utils.patterns import Pattern

__all__ = ["HOSTED_MODEL", "hosted", "refused_parameter", "sampling", "without"]

#: What to ask Moonshot's own service for.
HOSTED_MODEL = "kimi-k2.6"
#: Tokens an answer may have. Models that think count their thoughts among them.
_ANSWER = 8192
_ANSWER_THINKING = 32_768
#: The hosts of Moonshot, and models as it names them there: they fix the sampling themselves.
_HOSTED = Pattern(r"(?:.+\.)?(?:moonshot\.(?:ai|cn)|kimi\.com)", "moonshot", "kimi")
_FIXED = re.compile(r"(?i)(?:.*/)?kimi-(?:k2\.\d|k[3-9]|for-coding|latest|k2-thinking).*|k[3-9]")

#: What can be done without, and what may stand in its place.
_OPTIONAL = (
    "temperature",
    "tool_choice",
    "max_completion_tokens",
    "max_tokens",
    "include_stop_str_in_output",
    "skip_special_tokens",
)
_INSTEAD = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def hosted(target: Target) -> bool:
    """Whether this is Moonshot's own service."""
    return _HOSTED.fullmatch(target.host.lower()) is not None


def sampling(target: Target, model: str) -> dict[str, Any]:
    """Parameters of a chat request that this endpoint is known to take.

    Hosted models refuse any temperature but their own, and count ``max_completion_tokens``; open
    weights on vLLM or SGLang take the 0.6 that their authors recommend, and ``max_tokens``.
    """
    if hosted(target) or _FIXED.fullmatch(model):
        return {"max_completion_tokens": _ANSWER_THINKING}
    return {"temperature": 0.6, "max_tokens": _ANSWER}


def refused_parameter(status: int, body: bytes, payload: dict[str, Any]) -> str | None:
    """The parameter of the payload that an answer says it does not take, if it can be done without."""
    if status not in (400, 422):
        return None
    param, said = _told(body)
    names = [name for name in _OPTIONAL if name in payload]
    if param is not None and param.rpartition(".")[2] in names:
        return param.rpartition(".")[2]
    # "Use max_completion_tokens instead of max_tokens": only what was sent is looked for.
    return next((name for name in names if re.search(rf"(?<!\w){name}(?!\w)", said)), None)


def without(payload: dict[str, Any], name: str, body: bytes) -> dict[str, Any]:
    """The payload without a parameter; a limit that the answer names takes the place of the other."""
    rest = {key: value for key, value in payload.items() if key != name}
    instead = _INSTEAD.get(name)
    if instead is not None and instead not in rest and instead in _told(body)[1]:
        rest[instead] = payload[name]
    return rest


def _told(body: bytes) -> tuple[str | None, str]:
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, ""
    fault = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(fault, str):
        return None, fault[:4000]
    if not isinstance(fault, dict):
        return None, ""
    param = fault.get("param")
    words = fault.get("message") or fault.get("detail") or ""
    return (param if isinstance(param, str) else None), str(words)[:4000]
