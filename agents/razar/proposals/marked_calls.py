"""Tool calls that a model wrote into its text: the markers of Kimi, and ``<tool_call>`` of Hermes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

__all__ = ["Call", "MarkedCallError", "marked_calls"]

_SECTION_END = re.compile(r"<\|tool_calls?_section_end\|>")
_MARKERS = r"<\|tool_calls?_(?:section_(?:begin|end)|begin|end|argument_begin)\|>"
_KIMI_TOKEN = re.compile(_MARKERS)
_ANY_TOKEN = re.compile(rf"{_MARKERS}|</?tool_call>")
_CALL, _ARGUMENTS, _CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
#: ``functions.NAME:INDEX``; some servers leave out the prefix or the index.
_ID = re.compile(r"(?:functions\.)?([A-Za-z0-9_.-]{1,64})(?::\d{1,6})?", re.ASCII)
_HERMES, _HERMES_END = "<tool_call>", "</tool_call>"


class Call(NamedTuple):
    """A call as it was written; ``arguments`` is the text of a JSON object."""

    name: str
    arguments: str


class MarkedCallError(ValueError):
    """The text holds the beginning of a call and no whole call."""


def marked_calls(text: str, *, hermes: bool) -> list[Call]:
    """Return the calls in a text, in order. Raises MarkedCallError, and RecursionError for deep JSON."""
    # One scan for both forms: the arguments of a call may hold the markers of the other form.
    token = _ANY_TOKEN if hermes else _KIMI_TOKEN
    found: list[Call] = []
    at = 0
    while (marker := token.search(text, at)) is not None:
        if marker[0].endswith("section_begin|>"):
            calls, at = _section(text, marker.end())
            found += calls
        elif marker[0] == _HERMES:
            call, at = _hermes_call(text, marker.end())
            found.append(call)
        else:
            raise MarkedCallError("it holds markers of a tool call outside of one")
    return found


def _section(text: str, at: int) -> tuple[list[Call], int]:
    calls = []
    at = _blank(text, at)
    while (end := _SECTION_END.match(text, at)) is None:
        call, at = _kimi_call(text, at)
        calls.append(call)
        at = _blank(text, at)
    return calls, end.end()


def _kimi_call(text: str, at: int) -> tuple[Call, int]:
    if not text.startswith(_CALL, at):
        raise MarkedCallError("its section of tool calls does not end, or holds something else")
    separator = text.find(_ARGUMENTS, at)
    if separator < 0:
        raise MarkedCallError("its tool call has no arguments")
    id = _ID.fullmatch(text[at + len(_CALL) : separator].strip()[:200])
    if id is None:
        raise MarkedCallError("its tool call has no valid name")
    start = _blank(text, separator + len(_ARGUMENTS))
    _, end = _object(text, start)
    after = _blank(text, end)
    if not text.startswith(_CALL_END, after):
        raise MarkedCallError("its tool call does not end")
    return Call(id[1], text[start:end]), after + len(_CALL_END)


def _hermes_call(text: str, at: int) -> tuple[Call, int]:
    value, end = _object(text, _blank(text, at))
    after = _blank(text, end)
    if not text.startswith(_HERMES_END, after):
        raise MarkedCallError("its tool call does not end")
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not name:
        raise MarkedCallError("its tool call has no valid name")
    if isinstance(arguments, dict):
        arguments = _encoded(arguments)
    if not isinstance(arguments, str):
        raise MarkedCallError("its tool call has no arguments")
    return Call(name, arguments), after + len(_HERMES_END)


def _encoded(arguments: dict[str, Any]) -> str:
    import json

    # allow_nan: what is no JSON is written as it came, and refused where it is decoded.
    return json.dumps(arguments, ensure_ascii=True)


def _object(text: str, at: int) -> tuple[dict[str, Any], int]:
    """Decode the JSON object that begins here: a marker may stand inside one of its texts."""
    import json

    try:
        value, end = json.JSONDecoder(strict=True).raw_decode(text, at)
    except ValueError:
        raise MarkedCallError("the arguments of its tool call are not valid JSON") from None
    if not isinstance(value, dict):
        raise MarkedCallError("the arguments of its tool call are no JSON object")
    return value, end


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
