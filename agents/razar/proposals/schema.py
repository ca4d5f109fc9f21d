"""The tool that agents are offered, made from the types of a proposal. ``make schemas`` writes it down."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from agents.razar.proposals.proposal import TOOL, Proposal

__all__ = ["made"]


def made() -> bytes:
    """The tool as indented JSON."""
    schema = msgspec.json.schema(Proposal)
    tool = {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Propose the smallest patch that repairs the failed component. Call it exactly once.",
            "parameters": _inlined(schema, schema["$defs"]),
        },
    }
    return msgspec.json.format(msgspec.json.encode(tool), indent=2) + b"\n"


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Put definitions where they are referred to: not every model server follows references."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        # What may be null may be left out; null itself is taken and need not be offered.
        return _inlined(next(form for form in schema["anyOf"] if form != {"type": "null"}), definitions)
    return {
        key: _inlined(value, definitions)
        for key, value in schema.items()
        if key not in ("$defs", "default") and not (key == "title" and isinstance(value, str))
    } | ({"description": text} if (text := _said(schema)) else {})


def _said(schema: dict[str, Any]) -> str | None:
    # The docstring of a struct arrives as its description, with line breaks of the source.
    text = schema.get("description")
    return " ".join(text.split()) if isinstance(text, str) else None


if __name__ == "__main__":
    with open(os.path.join(os.path.dirname(__file__), "tool.json"), "wb") as file:
        file.write(made())
