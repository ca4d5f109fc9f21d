"""SHA-256 of what is small, without loading OpenSSL for it: that takes longer than the digest of a megabyte."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256 as _builtin
else:
    # The part of Python that needs no OpenSSL, as its own random.py takes it; some builds leave it out.
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256 as _builtin
        else:
            from _sha256 import sha256 as _builtin
    except ImportError:
        from hashlib import sha256 as _builtin

__all__ = ["sha256_hex"]

#: Bytes from which on OpenSSL is so much faster that it is worth loading.
_LARGE = 1 << 17


def sha256_hex(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    if len(data) >= _LARGE:
        from hashlib import sha256

        return sha256(data).hexdigest()
    return _builtin(data).hexdigest()
