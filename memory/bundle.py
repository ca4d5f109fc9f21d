"""The memory of a mission, under the name its callers use; it is made by ``neoabzu_memory``."""

from __future__ import annotations

try:
    from neoabzu_memory import LAYERS, SCHEMA, BundleError, MemoryBundle, fingerprint
except ImportError as error:
    raise ImportError(
        f"the memory needs RAZAR's Rust extension, which cannot be loaded ({error}); `make setup` builds it"
    ) from error

__all__ = ["LAYERS", "SCHEMA", "BundleError", "MemoryBundle", "fingerprint"]
