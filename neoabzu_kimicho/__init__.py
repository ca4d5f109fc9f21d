"""Ask Kimi K2 over an OpenAI-style API; the implementation is in Rust."""

from __future__ import annotations

from razar._native.neoabzu_kimicho import (
    AuthenticationError,
    ConfigurationError,
    KimichoError,
    MalformedAnswerError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    RequestTimeoutError,
    UpstreamError,
    complete,
    fallback_k2,
    init_kimicho,
)

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "KimichoError",
    "MalformedAnswerError",
    "QuotaError",
    "RateLimitError",
    "RequestRefusedError",
    "RequestTimeoutError",
    "UpstreamError",
    "complete",
    "fallback_k2",
    "init_kimicho",
]
