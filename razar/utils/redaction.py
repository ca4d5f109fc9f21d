"""Text from anywhere made fit to be shown and stored: no secrets, no control characters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache

__all__ = ["MASK", "Redactor", "learn", "neutralise", "one_line", "prepare", "redact", "strip_userinfo"]

MASK = "***"
#: Longest line that ``one_line`` lets through, in characters.
LINE_LIMIT = 4000
_MARGIN = 4000

_NAMED = frozenset({"API_KEY", "PASSWORD", "PGPASSWORD", "SECRET", "TOKEN"})
_SUFFIXES = (
    "_ACCESS_KEY",
    "_API_KEY",
    "_APIKEY",
    "_PASSWD",
    "_PASSWORD",
    "_PRIVATE_KEY",
    "_SECRET",
    "_SECRET_KEY",
    "_TOKEN",
)
#: Shorter values are words or numbers that would be masked everywhere.
_SHORTEST = 6

# Repetitions are bounded: the texts come from strangers and must not make a search quadratic.

# The user-info of a URL ends at the last @ of the authority (RFC 3986, 3.2.1). The second form is
# a password with an unescaped / or ? in it, which is no valid URL but is written all the same.
_USERINFO = r"""(?x)(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)
    (?: [^\s/?\#"'<>]{0,1000}@ | [^\s/?\#"'<>@:]{0,200}:(?!\d{1,5}(?:[/?\#]|$))[^\s"'<>@]{0,300}@ )"""

_BEARER = r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"
_QUERY = r"""(?ix)([?&;][\w.-]{0,40}(?:token|api[_-]?key|secret|passw(?:or)?d|signature)[\w.-]{0,40}=)
    [^&;\s"'\#]+"""
_ASSIGNED = r"""(?ix)(\b(?:x-api-key|auth_token|api[_-]?key|access[_-]?token|client[_-]?secret|passw(?:or)?d)
    ["']?\s*[:=]\s*["']?) [^\s"',;&}]{4,}"""
#: Keys of well-known vendors, by their prefix.
_VENDOR = r"\b(?:sk|ghp|gho|ghs|github_pat|glpat|hf|xox[abp])[-_](?=[A-Za-z0-9_-]{0,200}\d)[A-Za-z0-9_-]{16,}"
#: Each with what a text must hold, without regard to case, for anything in it to match.
_PATTERNS = (
    (_BEARER, ("bearer", "basic")),
    (_QUERY, ("=",)),
    (_ASSIGNED, ("=", ":")),
    (_VENDOR, ("-", "_")),
)
_ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # When first needed: together they take 2 ms, and a boot without a fault needs none of them.
    return re.compile(pattern)


def prepare() -> None:
    """Compile now what the first failure would have to wait for."""
    for pattern in (_USERINFO, *(pattern for pattern, _ in _PATTERNS)):
        _compiled(pattern)
    redact("")


class Redactor:
    """Masks known secret values first, then what looks like a secret."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values: set[str] = set()
        self._exact: re.Pattern[str] | None = None
        self.learn(_secrets(environ))

    def learn(self, values: Iterable[str]) -> None:
        """Mask these values too; those of fewer than six characters are ignored."""
        self._values.update(value for value in map(str.strip, values) if len(value) >= _SHORTEST)
        # Longest first, so that a secret that begins with another one is masked whole.
        longest = sorted(self._values, key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, longest))) if longest else None

    def __call__(self, text: str) -> str:
        if self._exact is not None:
            text = self._exact.sub(MASK, text)
        if text.isalnum():
            return text  # One word: none of the patterns is.
        if "://" in text:
            text = strip_userinfo(text)
        folded = text.casefold()
        for pattern, signs in _PATTERNS:
            if any(sign in folded for sign in signs):
                text = _compiled(pattern).sub(_mask, text)
        return text


def _mask(found: re.Match[str]) -> str:
    """Keep what introduces a secret, if the pattern has a group for it."""
    if found.re.groups == 0:
        return MASK
    return f"{found[1]} {MASK}" if found[1].isalpha() else f"{found[1]}{MASK}"


def strip_userinfo(text: str) -> str:
    """Remove ``user:password@`` from every URL in a text (which may be just one URL)."""
    return _compiled(_USERINFO).sub(r"\g<scheme>", text)


_of_process: Redactor | None = None


def redact(text: str) -> str:
    """Mask the secrets of this process's environment and whatever looks like one."""
    global _of_process
    if _of_process is None:
        _of_process = Redactor(os.environ)
    return _of_process(text)


def learn(environ: Mapping[str, str]) -> None:
    """Have ``redact`` mask the secret variables of another environment as well: a component's."""
    redact("")
    assert _of_process is not None
    _of_process.learn(_secrets(environ))


def _secrets(environ: Mapping[str, str]) -> list[str]:
    return [
        value for name, value in environ.items() if name.upper() in _NAMED or name.upper().endswith(_SUFFIXES)
    ]


def neutralise(text: str) -> str:
    r"""Drop terminal colours; write every other control character as ``\x1b``, ``\n``, ``\u202e``."""
    if text.isprintable():
        return text
    text = _compiled(_ANSI).sub("", text).replace("\t", "    ")
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace() and character not in "\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """One line without secrets and control characters, of at most about ``limit`` characters."""
    text = text.rstrip("\r\n")
    if len(text) <= limit:
        return neutralise(redact(text))
    # Only the part that will be shown is looked at, and a margin, so that no secret is cut in two.
    head = text[: limit + _MARGIN]
    shown = redact(head)
    if len(head) < len(text):
        shown = shown[:-_MARGIN]
    return f"{neutralise(shown[:limit])}… ({len(text)} characters)"
