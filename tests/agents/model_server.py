"""A model behind chat completions that streams what a test scripted: calls of tools, then words."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from tests.agents.server import Behaviour, Request

__all__ = ["Turn", "model", "say", "use"]

#: What the model does in one answer: the deltas of its message, and why it stopped.
Turn = tuple[list[dict[str, Any]], str]
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def say(text: str) -> Turn:
    """Words, and the end of the turn."""
    return [{"role": "assistant", "content": piece} for piece in text.splitlines(keepends=True)], "stop"


def use(*calls: tuple[str, dict[str, Any]]) -> Turn:
    """Calls of tools, their arguments in two pieces each as servers stream them."""
    deltas: list[dict[str, Any]] = []
    for number, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        function = {"name": name, "arguments": text[:7]}
        head = {"index": number, "id": f"call_{number}", "type": "function", "function": function}
        deltas.append({"role": "assistant", "tool_calls": [head]})
        deltas.append({"tool_calls": [{"index": number, "function": {"arguments": text[7:]}}]})
    return deltas, "tool_calls"


def model(*turns: Turn) -> Behaviour:
    """Answer request after request with these turns; from the last one on always with that."""
    left = list(turns)

    def behave(connection: socket.socket, request: Request, released: threading.Event) -> None:
        deltas, reason = left.pop(0) if len(left) > 1 else left[0]
        frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": request.json["model"]}
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        chunks.append({"choices": [], "usage": usage})
        connection.sendall(_HEAD)
        for chunk in chunks:
            connection.sendall(b"data: " + json.dumps(frame | chunk).encode() + b"\n\n")
        connection.sendall(b"data: [DONE]\n\n")

    return behave
