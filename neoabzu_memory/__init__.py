"""What a mission remembers: searchable records in layers, and the repairs that held; the implementation is in Rust."""

from __future__ import annotations

from razar._native.neoabzu_memory import (
    LAYERS,
    SCHEMA,
    BundleError,
    BusyError,
    ClosedError,
    CorruptError,
    DeadlineError,
    ForkedError,
    FullError,
    InternalError,
    InvalidInputError,
    MemoryBundle,
    ReadOnlyError,
    SchemaError,
    StorageError,
    fingerprint,
)

__all__ = [
    "LAYERS",
    "SCHEMA",
    "BundleError",
    "BusyError",
    "ClosedError",
    "CorruptError",
    "DeadlineError",
    "ForkedError",
    "FullError",
    "InternalError",
    "InvalidInputError",
    "MemoryBundle",
    "ReadOnlyError",
    "SchemaError",
    "StorageError",
    "fingerprint",
]
