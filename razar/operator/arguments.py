"""Reads numbers, spans and instants from the command line, for argparse."""

from __future__ import annotations

import argparse

__all__ = ["count", "instant", "seconds"]


def count(text: str) -> int:
    """Read a whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def instant(text: str) -> float:
    """Read ``10m`` (ago) or an ISO 8601 time, as epoch seconds."""
    from razar.operator.logs import parse_since

    try:
        return parse_since(text)
    except ValueError:
        message = f"{text!r} is neither a span like 10m nor a time like 2025-09-21T00:00:00Z"
        raise argparse.ArgumentTypeError(message) from None
