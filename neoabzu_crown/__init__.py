"""Route text to servant models, and serve that over HTTP; the implementation is in Rust."""

from __future__ import annotations

from neoabzu_crown._serving import serve
from razar._native.neoabzu_crown import (
    ConfigurationError,
    CrownError,
    Gateway,
    InvalidRequestError,
    NoAnswerError,
    RefusedError,
    Router,
)

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
