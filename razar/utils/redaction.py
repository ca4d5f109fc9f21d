"""Text from anywhere made fit to be shown and stored: no secrets, no control characters."""

from __future__ import annotations

import os
import re
from _thread import allocate_lock
from collections.abc import Iterable, Mapping
from functools import cache

__all__ = [
    "MASK",
    "Redactor",
    "learn",
    "neutralise",
    "one_line",
    "prepare",
    "redact",
    "redact_source",
    "strip_userinfo",
]

MASK = "***"
#: Longest line that ``one_line`` lets through, in characters.
LINE_LIMIT = 4000
_MARGIN = 4000

_NAMED = frozenset({"API_KEY", "PASSWORD", "PGPASSWORD", "SECRET", "TOKEN"})
_SUFFIXES = (
    "_ACCESS_KEY",
    "_API_KEY",
    "_APIKEY",
    "_AUTH_KEY",
    "_CREDENTIAL",
    "_CREDENTIALS",
    "_ENCRYPTION_KEY",
    "_MASTER_KEY",
    "_PASS",
    "_PASSPHRASE",
    "_PASSWD",
    "_PASSWORD",
    "_PAT",
    "_PRIVATE_KEY",
    "_PWD",
    "_SALT",
    "_SECRET",
    "_SECRET_KEY",
    "_SIGNING_KEY",
    "_TOKEN",
    "_WEBHOOK",
    "_WEBHOOK_URL",
)
#: Shorter values are words or numbers that would be masked everywhere.
_SHORTEST = 6
#: Shorter forms of a value (a piece of its base64) would be found by chance.
_SHORTEST_FORM = 8
#: What is written out in a program and shorter than this may be a word.
_SHORTEST_LITERAL = 12
#: A line of a value that has several is a secret of its own if it is as long as this.
_SHORTEST_LINE = 16

# Repetitions are bounded: the texts come from strangers and must not make a search quadratic.

# The user-info of a URL ends at the last @ of the authority (RFC 3986, 3.2.1). The second form is
# a password with an unescaped / or ? in it, which is no valid URL but is written all the same.
_USERINFO = r"""(?x)(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)
    (?: [^\s/?\#"'<>]{0,1000}@ | [^\s/?\#"'<>@:]{0,200}:(?!\d{1,5}(?:[/?\#]|$))[^\s"'<>@]{0,300}@ )"""
_URL_PASSWORD = r"""^[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#"'<>@:]{0,200}:([^\s"'<>]{1,1000})@"""

_BEARER = r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"
_QUERY = r"""(?ix)([?&;][\w.-]{0,40}(?:token|api[_-]?key|secret|passw(?:or)?d|signature)[\w.-]{0,40}=)
    [^&;\s"'\#]+"""
#: Not what a program reads from elsewhere: ``api_key = load()``, ``password: None``.
_NO_CALL = r"(?![A-Za-z_][\w.]{0,80}[(\[])(?!(?:None|null|true|false|undefined)\b)"
_ASSIGNED = rf"""(?ix)((?:x-api-key|auth_token|api[_-]?key|access[_-]?token|client[_-]?secret|passw(?:or)?d
    |private[_-]?key|access[_-]?key|secret[_-]?key|account[_-]?key|passphrase|secret)
    ["']?\s*[:=]\s*["']?) {_NO_CALL} [^\s"',;&}}]{{4,}}"""
#: Words that stand for other things too: only before what has a digit in it.
_ASSIGNED_TOKEN = rf"""(?ix)((?:token|credentials?|pwd|salt)["']?\s*[:=]\s*["']?)
    {_NO_CALL} (?=[^\s"',;&}}]{{0,200}}\d) [^\s"',;&}}]{{8,}}"""
#: The same in the source of a program: only what is written out, in quotes.
_ASSIGNED_LITERAL = r"""(?ix)((?:api[_-]?key|token|secret|passw(?:or)?d|private[_-]?key|access[_-]?key|secret[_-]?key
    |passphrase|credentials?|pwd|salt)_{0,2}["']?\s*(?::\s*\w{1,20}\s*)?[:=]=?>?\s*[rbu]?["'`])
    (?![\s{$%<]) [^"'`\n{}]{4,500}(?=["'`])"""
_BEARER_LITERAL = r"(?i)\b(bearer|basic)\s+(?=[A-Za-z._~+/=-]{0,200}\d)[A-Za-z0-9._~+/=-]{6,}"
#: Keys of well-known vendors, by their prefix.
_VENDOR = r"""(?x)
    \b(?:sk|rk|ghp|gho|ghs|ghu|ghr|github_pat|glpat|hf|npm|pypi|xox[abeprs]|shpat|dop_v1|nvapi|gsk|pplx)[-_]
        (?=[A-Za-z0-9_-]{0,200}\d)[A-Za-z0-9_-]{16,}
    | \b(?:AKIA|ASIA|AGPA|AROA)[A-Z0-9]{16}\b
    | \bAIza[A-Za-z0-9_-]{30,}
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)?
    | \bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
    | \bhooks\.slack\.com/services/[A-Za-z0-9/]{10,200}"""
_PEM = r"""(?mx)-----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----[^-]{0,20000}(?:-----END\ [A-Z ]{0,30}PRIVATE\ KEY-----)?
    | ^(?:[ +-]?[A-Za-z0-9+/=]{16,80}\r?\n){1,100}[ +-]?-----END\ [A-Z ]{0,30}PRIVATE\ KEY-----"""
_ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"

#: A text with none of these holds nothing that the patterns could find: most lines need no more than this look.
_WORDS = (
    "key", "token", "secret", "passw", "passphrase", "signature", "bearer", "basic", "credential", "pwd", "salt",
)  # fmt: skip
_PREFIXES = (
    "sk-", "sk_", "rk-", "rk_", "gh", "glpat", "hf_", "hf-", "npm_", "pypi-", "xox", "shpat", "dop_v1", "nvapi", "gsk_",
    "pplx-", "AKIA", "ASIA", "AGPA", "AROA", "AIza", "eyJ", "SG.", "hooks.",
)  # fmt: skip
#: Files in which a name with a value behind it is a program and no setting.
_PROGRAMS = frozenset(
    """
    .c .cc .cpp .cs .ex .exs .go .h .hpp .java .js .jsx .kt .lua .mjs .php .pl .py .pyi .rb .rs .scala .swift .ts .tsx
    """.split()
)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # When first needed: together they take 2 ms, and a boot without a fault needs none of them.
    return re.compile(pattern)


def prepare() -> None:
    """Compile now what the first failure would have to wait for."""
    for pattern in (_USERINFO, _BEARER, _QUERY, _ASSIGNED, _ASSIGNED_TOKEN, _VENDOR):
        _compiled(pattern)
    redact("")


class Redactor:
    """Masks known secret values first, then what looks like a secret."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._lock = allocate_lock()
        self._values: set[str] = set()
        self._new: list[str] = []
        self._forms: tuple[str, ...] = ()
        self.learn(_secrets(environ))

    def learn(self, values: Iterable[str]) -> None:
        """Mask these values too, also in base64 and percent-encoded; those below six characters are ignored."""
        with self._lock:
            for value in map(str.strip, values):
                if len(value) >= _SHORTEST and value not in self._values:
                    self._values.add(value)
                    self._new.append(value)

    def _take_in(self) -> None:
        """Work out the forms of what was learnt: once for many, when they are first needed."""
        with self._lock:
            forms = {form for value in self._new for form in _forms(value)}
            # Longest first, so that a secret that begins with another one is masked whole.
            self._forms = tuple(sorted(forms.union(self._forms), key=len, reverse=True))
            self._new.clear()

    def __call__(self, text: str) -> str:
        text = self._known(text)
        if _may_hold(text):
            for pattern in (_BEARER, _QUERY, _ASSIGNED, _ASSIGNED_TOKEN):
                text = _compiled(pattern).sub(_mask, text)
        return text

    def source(self, text: str, path: str) -> str:
        """A file. In a program only secrets that are written out count, not the variables that hold them.

        What is long enough to be none but a secret is learnt: a piece of the file may be printed elsewhere.
        """
        if os.path.splitext(path)[1].lower() not in _PROGRAMS:
            return self(text)
        self.learn(_written_out(text))
        text = self._known(text)
        if _may_hold(text):
            for pattern in (_BEARER_LITERAL, _QUERY, _ASSIGNED_LITERAL):
                text = _compiled(pattern).sub(_mask, text)
        return text

    def _known(self, text: str) -> str:
        """Mask what is known by its value, its place in a URL or the form its vendor gives it."""
        if self._new:
            self._take_in()
        for form in self._forms:
            # Far quicker than one expression of all of them, which tries each one at each place.
            if form in text:
                text = text.replace(form, MASK)
        if "://" in text:
            text = strip_userinfo(text)
        if "-----BEGIN" in text or "-----END" in text:
            text = _compiled(_PEM).sub(MASK, text)
        if any(prefix in text for prefix in _PREFIXES):
            text = _compiled(_VENDOR).sub(MASK, text)
        return text


def _may_hold(text: str) -> bool:
    """Whether one of the words stands in a text that introduce a secret."""
    lowered = text.lower()
    return any(word in lowered for word in _WORDS)


def _mask(found: re.Match[str]) -> str:
    """Keep what introduces a secret."""
    return f"{found[1]} {MASK}" if found[1].isalpha() else f"{found[1]}{MASK}"


def _written_out(text: str) -> list[str]:
    """Secrets in the source of a program that cannot be taken for anything else."""
    found = [match[0] for match in _compiled(_PEM).finditer(text)] if "-----BEGIN" in text else []
    for match in _compiled(_ASSIGNED_LITERAL).finditer(text) if _may_hold(text) else ():
        value = match[0][len(match[1]) :]
        if len(value) >= _SHORTEST_LITERAL and re.search(r"\d", value) and " " not in value:
            found.append(value)
    return found


def strip_userinfo(text: str) -> str:
    """Remove ``user:password@`` from every URL in a text (which may be just one URL)."""
    return _compiled(_USERINFO).sub(r"\g<scheme>", text)


def _forms(value: str) -> set[str]:
    """A value as it is, percent-encoded, in JSON, and in base64 at any place of a longer text."""
    from binascii import b2a_base64

    found = {value}
    if "\n" in value:
        found |= {line.strip() for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE}
    coded = {value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")}
    if not value.replace("-", "").replace("_", "").replace(".", "").isalnum() or not value.isascii():
        from urllib.parse import quote, quote_plus

        coded |= {quote(value, safe="", errors="replace"), quote_plus(value, errors="replace")}
    data = value.encode("utf-8", "surrogatepass")
    for before, start in enumerate((0, 2, 3)):
        # The first and last characters depend on what stands beside the value too.
        text = b2a_base64(b"\0" * before + data, newline=False).decode()
        core = text[start : len(text) - (0, 3, 2)[(before + len(data)) % 3]]
        coded |= {core, core.replace("+", "-").replace("/", "_")}
    return found | {form for form in coded if len(form) >= _SHORTEST_FORM}


_of_process: Redactor | None = None


def redact(text: str) -> str:
    """Mask the secrets of this process's environment and whatever looks like one."""
    global _of_process
    if _of_process is None:
        _of_process = Redactor(os.environ)
    return _of_process(text)


def redact_source(text: str, path: str) -> str:
    """As :func:`redact`, for a file that is to be shown to an agent."""
    redact("")
    assert _of_process is not None
    return _of_process.source(text, path)


def learn(environ: Mapping[str, str]) -> None:
    """Have ``redact`` mask the secret variables of another environment as well: a component's."""
    redact("")
    assert _of_process is not None
    _of_process.learn(_secrets(environ))


def _secrets(environ: Mapping[str, str]) -> list[str]:
    found = []
    for name, value in environ.items():
        upper = name.upper()
        if upper in _NAMED or upper.endswith(_SUFFIXES):
            found.append(value)
        elif "://" in value:
            password = _compiled(_URL_PASSWORD).match(value)
            if password is not None:
                from urllib.parse import unquote

                found += {password[1], unquote(password[1])}
    return found


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
