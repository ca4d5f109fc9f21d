"""From the bytes of a file to its text."""

from __future__ import annotations

from agents.razar.patching.refusal import Refusal

__all__ = ["decode"]


def decode(path: str, data: bytes) -> str:
    """The text of a file; refuses what is no text."""
    if b"\0" in data:
        raise Refusal(f"{path!a} is binary")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refusal(f"{path!a} is binary or not in UTF-8 (byte {error.start})") from None
