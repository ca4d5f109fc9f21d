"""Evaluate CEL expressions, within hard limits; the implementation is in Rust."""

from __future__ import annotations

from razar._native.neoabzu_core import (
    LIMITS,
    CacheInfo,
    ConversionError,
    CoreError,
    EvaluationError,
    InternalError,
    LimitExceeded,
    ParseError,
    Position,
    UnknownNameError,
    cache_clear,
    cache_info,
    compile_check,
    evaluate_py,
    references,
)

__all__ = [
    "LIMITS",
    "CacheInfo",
    "ConversionError",
    "CoreError",
    "EvaluationError",
    "InternalError",
    "LimitExceeded",
    "ParseError",
    "Position",
    "UnknownNameError",
    "cache_clear",
    "cache_info",
    "compile_check",
    "evaluate_py",
    "references",
]
