"""Durations and sizes: the texts people write to seconds and bytes."""

from __future__ import annotations

__all__ = ["seconds", "size_bytes"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def seconds(value: float | str) -> float:
    """Convert a duration whose form has been checked: seconds, or ``250ms``, ``10s``, ``5m``, ``1h``."""
    if not isinstance(value, str):
        return float(value)
    unit = "ms" if value.endswith("ms") else value[-1]
    return float(value.removesuffix(unit)) * _SECONDS[unit]


def size_bytes(value: int | str) -> int:
    """Convert a size whose form has been checked: bytes, or ``512M``, in steps of 1024."""
    if not isinstance(value, str):
        return value
    factor = _BYTES.get(value[-1], 1)
    return int(float(value.rstrip("KMGT")) * factor)
