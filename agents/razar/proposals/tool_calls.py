"""From an agent's answer to one proposal, or to the reason why there is none.

Forms of a tool call that are read: ``message.tool_calls`` of chat completions; the markers of Kimi in a
text (MoonshotAI/Kimi-K2, docs/tool_call_guidance.md), in both spellings of the section, which servers
without a parser leave in ``content``, ``text`` or ``reasoning_content``; ``<tool_call>`` of Hermes, which
rStar writes (microsoft/rStar, examples/chat_with_tool_call.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from agents.razar.errors import ProposalRefusedError
from agents.razar.proposals.marked_calls import Call, MarkedCallError, marked_calls
from agents.razar.proposals.proposal import TOOL, Proposal
from agents.razar.web.own_keys import OwnKeys
from razar.utils.redaction import one_line

__all__ = ["read_proposal"]

#: Reasons to stop by which servers say that the answer is not whole.
_CUT = frozenset({"length", "max_tokens", "model_length", "abort", "error"})


def read_proposal(reply: Any, keys: OwnKeys | None = None) -> Proposal:
    """Return the one proposal in a reply as the adapters give it.

    ``keys`` are those that must not be in it. Raises ProposalRefusedError, whose message is the
    reason; nothing of the answer that is quoted there holds a key or a control character.
    """
    keys = keys or OwnKeys(())
    try:
        calls = [call for choice in _choices(reply, keys) for call in _calls(choice)]
        for call in calls:
            if call.name != TOOL:
                _refuse(f"it calls the tool {_quoted(call.name, keys)}, which was never offered")
        if not calls:
            _refuse("it holds no call of the tool: only prose")
        proposals = [_proposal(call, keys) for call in calls]
    except MarkedCallError as error:
        _refuse(str(error))
    except RecursionError:
        _refuse("it is nested too deeply")
    if any(proposal != proposals[0] for proposal in proposals[1:]):
        _refuse(f"it holds {len(proposals)} proposals, and only one can be tried")
    if any(keys.found(text) for text in proposals[0].texts):
        _refuse("it repeats our own key")
    return proposals[0]


def _refuse(reason: str) -> NoReturn:
    raise ProposalRefusedError(f"the answer is refused: {reason}") from None


def _choices(reply: Any, keys: OwnKeys) -> list[dict[str, Any]]:
    if not isinstance(reply, dict):
        _refuse("it is no JSON object")
    if set(reply) == {"response"} and isinstance(reply["response"], str):
        _refuse(_not_json(reply["response"]))
    if reply.get("error"):
        _refuse(f"it is an error: {_quoted(str(reply['error'])[:1000], keys)}")
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(item, dict) for item in choices):
        _refuse("it holds no choices, as a completion does")
    for choice in choices:
        reason = choice.get("finish_reason")
        if reason in _CUT:
            _refuse(f"it is cut off (finish_reason {reason}), and half a patch is none")
        if reason == "content_filter":
            _refuse("its content was filtered")
    return choices


def _not_json(text: str) -> str:
    head = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if not head:
        return "it is empty"
    if head.startswith(("<!doctype", "<html", "<head", "<body", "<?xml")):
        return "it is an HTML page, not an answer of a model"
    return "it is not JSON"


def _calls(choice: dict[str, Any]) -> Iterator[Call]:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    found = list(_structured(message.get("tool_calls")))
    for text in (message.get("content"), choice.get("text")):
        found += marked_calls(_text(text), hermes=True)
    if not found:
        # A draft in the reasoning is no second proposal; it counts where a server left the answer there.
        for name in ("reasoning_content", "reasoning"):
            if not found:
                found += marked_calls(_text(message.get(name)), hermes=False)
    yield from found


def _text(value: Any) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _structured(calls: Any) -> Iterator[Call]:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise MarkedCallError("its tool_calls are no list")
    for item in calls:
        function = item.get("function") if isinstance(item, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise MarkedCallError("it holds a tool call without a name")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # Some servers decode them.
            arguments = msgspec.json.encode(arguments).decode()
        if not isinstance(arguments, str):
            raise MarkedCallError("it holds a tool call without arguments")
        yield Call(function["name"], arguments)


def _proposal(call: Call, keys: OwnKeys) -> Proposal:
    try:
        return msgspec.json.decode(call.arguments, type=Proposal)
    except msgspec.ValidationError as error:
        _refuse(f"its proposal has not the form that was asked for: {_plain(str(error), keys)}")
    except (msgspec.DecodeError, UnicodeError) as error:
        _refuse(f"the arguments of its tool call are not valid JSON: {_plain(str(error), keys)}")


def _plain(text: str, keys: OwnKeys) -> str:
    return one_line(keys.text(text), 300)


def _quoted(text: str, keys: OwnKeys) -> str:
    return f'"{_plain(text, keys)}"'
