"""JSON for values that may hold the text of strangers."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["encode_json"]

_encoder = msgspec.json.Encoder()


def encode_json(value: Any) -> bytes:
    r"""Encode a value on one line.

    A name that is no valid UTF-8 reaches Python as lone surrogates, which JSON cannot carry: they
    are written visibly, as ``\udcff``.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_visible(msgspec.to_builtins(value)))


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(item) for item in value]
    return value
