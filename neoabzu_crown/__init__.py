"""Route text to servant models, and serve that over HTTP; the implementation is in Rust."""

from __future__ import annotations

from razar._native.neoabzu_crown import (
    ConfigurationError,
    CrownError,
    Gateway,
    InvalidRequestError,
    NoAnswerError,
    RefusedError,
    Router,
)

from neoabzu_crown._serving import serve

__all__ = [
    "ConfigurationError",
    "CrownError",
    "Gateway",
    "InvalidRequestError",
    "NoAnswerError",
    "RefusedError",
    "Router",
    "serve",
]
