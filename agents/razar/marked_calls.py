"""Tool calls that a model wrote into its text: the markers of Kimi, and ``<tool_call>`` of Hermes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Call", "MarkedCallError", "marked_calls"]

_SECTION = re.compile(r"<\|tool_calls?_section_begin\|>")
_SECTION_END = re.compile(r"<\|tool_calls?_section_end\|>")
_ANY_MARKER = re.compile(r"<\|tool_calls?_(?:section_(?:begin|end)|begin|end|argument_begin)\|>")
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
    found = list(_kimi(text))
    if hermes:
        found += _hermes(text)
    return found


def _kimi(text: str) -> Iterator[Call]:
    at = 0
    while (section := _SECTION.search(text, at)) is not None:
        if _ANY_MARKER.search(text, at, section.start()):
            raise MarkedCallError("it holds markers of a tool call outside a section")
        at = _blank(text, section.end())
        while (end := _SECTION_END.match(text, at)) is None:
            call, at = _kimi_call(text, at)
            yield call
            at = _blank(text, at)
        at = end.end()
    if _ANY_MARKER.search(text, at):
        raise MarkedCallError("it holds markers of a tool call outside a section")


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


def _hermes(text: str) -> Iterator[Call]:
    at = 0
    while (begin := text.find(_HERMES, at)) >= 0:
        start = _blank(text, begin + len(_HERMES))
        value, end = _object(text, start)
        at = _blank(text, end)
        if not text.startswith(_HERMES_END, at):
            raise MarkedCallError("its tool call does not end")
        at += len(_HERMES_END)
        name, arguments = value.get("name"), value.get("arguments")
        if not isinstance(name, str) or not name:
            raise MarkedCallError("its tool call has no valid name")
        if isinstance(arguments, dict):
            arguments = _encoded(arguments)
        if not isinstance(arguments, str):
            raise MarkedCallError("its tool call has no arguments")
        yield Call(name, arguments)
    if text.find(_HERMES_END, at) >= 0:
        raise MarkedCallError("it holds the end of a tool call without its beginning")


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
