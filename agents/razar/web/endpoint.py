"""The URL of an agent or a connector, taken apart; what is shown of it holds no credentials."""

from __future__ import annotations

import re
from binascii import b2a_base64
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from agents.razar.errors import ConfigurationError
from razar.utils.patterns import Pattern
from razar.utils.redaction import redact

__all__ = ["Target", "base", "completed", "parse"]

_BASE = Pattern(r"v\d+\w*", "v")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")


class Target(Struct, frozen=True, kw_only=True):
    """Where a request goes.

    ``path`` is path and query; ``basic`` is the Authorization that the URL's user-info stands for;
    ``shown`` has neither user-info nor query.
    """

    secure: bool
    host: str
    port: int
    authority: str
    path: str
    basic: str | None
    shown: str

    def __repr__(self) -> str:
        return f"Target({self.shown!r})"


def parse(url: str | None, what: str = "the endpoint") -> Target:
    """Take a http or https URL apart. Raises ConfigurationError, which never repeats the URL."""
    text = (url or "").strip()
    if not text:
        raise ConfigurationError(
            f"{what} is not set: expected a URL such as https://host/v1/chat/completions"
        )
    fault = _fault(text)
    if fault is not None:
        raise ConfigurationError(
            f"{what} is no URL that can be used: {fault}. Expected https://host[:port]/path"
        )
    parts = urlsplit(text)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port == (443 if secure else 80) else f"{bracketed}:{port}"
    bare = SplitResult(parts.scheme, authority, parts.path or "/", "", "")
    return Target(
        secure=secure,
        host=host,
        port=port,
        authority=authority,
        path=bare.path + (f"?{parts.query}" if parts.query else ""),
        basic=_basic(parts),
        shown=redact(bare.geturl()),
    )


def _fault(text: str) -> str | None:
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return "it holds characters that have to be percent-encoded"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "it cannot be parsed"
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        return "it names no host"
    if port == 0:
        return "its port is 0"
    return None


def _basic(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b2a_base64(pair.encode(), newline=False).decode()


def completed(url: str | None, suffix: str) -> str:
    """A URL for ``parse``: a base (bare host, or ending in ``/v1``) gets ``suffix``, any other stays."""
    text = (url or "").strip()
    head, mark, _ = text.partition("?")
    path = head.partition("://")[2].partition("/")[2].rstrip("/")
    if not head.partition("://")[2] or mark:
        return text
    if not path:
        return f"{head.rstrip('/')}/v1{suffix}"
    return head.rstrip("/") + suffix if _BASE.fullmatch(path.rpartition("/")[2]) else text


def base(url: str) -> str:
    """The base of a URL that may be full: without ``/chat/completions`` or ``/completions``."""
    text = completed(url, "/chat/completions").partition("?")[0].rstrip("/")
    return text.removesuffix("/completions").removesuffix("/chat")
