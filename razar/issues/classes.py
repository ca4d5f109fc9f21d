"""From the text of an error to its class, its cause in detail and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from razar.issues.package_names import package_of
from razar.issues.tracebacks import Raised, TracebackReader
from razar.utils.patterns import Pattern
from razar.utils.redaction import one_line

__all__ = ["REMEDIATION", "Issue", "IssueClass", "classify", "classify_line", "classify_raised", "tells"]

IssueClass = Literal[
    "dependency", "configuration", "port", "permission", "resource", "network", "logic", "unknown"
]

#: What to do about each class, for the quarantine log and for people.
REMEDIATION: dict[IssueClass, str] = {
    "dependency": "Install missing packages or verify the environment.",
    "configuration": "Correct the setting, file or variable that the error names.",
    "port": "Free the port or configure another one.",
    "permission": "Grant the access that the error names, or run as a user who has it.",
    "resource": "Free memory, disk, file handles or GPU, or raise the limit that was reached.",
    "network": "Check that the remote service runs and can be reached from here.",
    "logic": "Inspect the stack trace and fix the code that it ends in.",
    "unknown": "Read the component's log from the end upwards.",
}


class Issue(Struct, frozen=True, kw_only=True):
    """What is wrong, as far as a text tells. ``message`` is its line, fit to be shown.

    ``module`` is what could not be imported, ``package`` the distribution that brings it (None
    if that is not known), ``port`` a TCP port, ``path`` a file.
    """

    name: IssueClass
    message: str
    module: str | None = None
    package: str | None = None
    port: int | None = None
    path: str | None = None

    @property
    def remediation(self) -> str:
        """What to do, by class."""
        return REMEDIATION[self.name]


def _rule(expression: str, hints: str) -> Pattern:
    """What a line must match, and what it then holds one of, in lower case."""
    return Pattern(expression, *hints.split("|"), flags=re.IGNORECASE)


# The first that matches decides: the particular ones stand before the general ones. Most lines of a large log hold
# none of the hints and need no more than that look.
_RULES: tuple[tuple[IssueClass, Pattern], ...] = (
    (
        "port",
        _rule(
            r"address (?:is )?already in use|EADDRINUSE|WinError 10048"
            r"|port (?:\d+ )?(?:is )?(?:already )?(?:allocated|taken|in use)",
            "in use|eaddrinuse|winerror 10048|allocated|taken",
        ),
    ),
    (
        "resource",
        _rule(
            r"out of memory|\bOOM\b|oom[- ]?kill|\bMemoryError\b|cannot allocate memory|bad_alloc|CUDA error"
            r"|no space left on device|ENOSPC|disk quota exceeded|too many open files|EMFILE|RLIMIT"
            r"|resource temporarily unavailable|can't start new thread|killed by SIGKILL"
            r"|exit(?:ed with)? (?:code|status) 137",
            "memory|oom|bad_alloc|cuda error|space left|enospc|quota|too many|emfile|rlimit|unavailable|new thread"
            "|sigkill|code 137|status 137",
        ),
    ),
    (
        "permission",
        _rule(
            r"\bPermissionError\b|permission denied|EACCES|EPERM|operation not permitted"
            r"|access (?:is )?denied|read-only file system|exit(?:ed with)? (?:code|status) 126",
            "permission|eacces|eperm|permitted|denied|read-only|code 126|status 126",
        ),
    ),
    (
        "dependency",
        _rule(
            r"\bModuleNotFoundError\b|\bImportError\b|no module named|cannot import name|DependencyError"
            r"|DistributionNotFound|PackageNotFoundError|VersionConflict|cannot find (?:module|package)"
            r"|error while loading shared libraries|cannot open shared object|command not found"
            r"|undefined symbol|exit(?:ed with)? (?:code|status) 127",
            "modulenotfound|importerror|no module|cannot import|dependencyerror|distributionnotfound|packagenotfound"
            "|versionconflict|cannot find|shared|command not found|undefined symbol|code 127|status 127",
        ),
    ),
    (
        "network",
        _rule(
            r"connection (?:was |is )?(?:refused|reset|aborted|closed|timed out)|Connection\w*Error|ECONN"
            r"|ETIMEDOUT|network is unreachable|no route to host|name or service not known|getaddrinfo"
            r"|gaierror|temporary failure in name resolution|certificate verify failed|SSLError"
            r"|ConnectTimeout|ReadTimeout|\bTimeoutError\b|timed out|max retries exceeded|bad gateway"
            r"|service unavailable",
            "connection|econn|etimedout|unreachable|no route|not known|getaddrinfo|gaierror|resolution|verify failed"
            "|sslerror|timeout|timed out|retries|gateway|unavailable",
        ),
    ),
    (
        "configuration",
        _rule(
            r"\bFileNotFoundError\b|no such file or directory|ENOENT|NotADirectoryError|IsADirectoryError"
            r"|ValidationError|validation errors? for|ScannerError|ParserError|yaml\.|TOMLDecodeError"
            r"|ConfigError|ConfigurationError|configparser|ImproperlyConfigured"
            r"|invalid (?:config|configuration|option|argument|value for)|unrecognized arguments"
            r"|the following arguments are required|environment variable"
            r"|missing (?:required )?(?:option|argument|setting|key|parameter)"
            r"|(?:\b[A-Z][A-Z0-9_]+|is|are) not (?:set|configured)\b",
            "filenotfound|no such|enoent|adirectoryerror|validation|scannererror|parsererror|yaml.|tomldecode|config"
            "|invalid|unrecognized|required|environment variable|missing|not set",
        ),
    ),
    (
        "logic",
        _rule(
            r"\b(?:Assertion|Type|Value|Key|Index|Attribute|Name|UnboundLocal|ZeroDivision|Recursion|Lookup"
            r"|Arithmetic|Overflow|NotImplemented|Runtime|Syntax|Indentation|Tab|Unicode|UnicodeDecode"
            r"|UnicodeEncode|JSONDecode|EOF|Buffer|System)Error\b|StopIteration"
            r"|segmentation fault|SIGSEGV|SIGABRT|panicked at|core dumped",
            "error|stopiteration|segmentation|sigsegv|sigabrt|panicked|core dumped",
        ),
    ),
)
_HINTS = tuple(hint for _, pattern in _RULES for hint in pattern.hints)

_MODULE = Pattern(r"No module named ['\"]?(?P<module>[A-Za-z_][\w.]*)|Error loading module (?P<other>[\w.]+)")
_IMPORT_FROM = Pattern(
    r"cannot import name ['\"]\w+['\"] from (?:partially initialized module )?['\"](?P<module>[\w.]+)"
)
_PORT = Pattern(
    r"(?:\(['\"][^'\"]{0,80}['\"], ?|address ?\(?['\"]?|port[ :=]+|:{1,3}|\]:|\bon )"
    r"(?P<port>[1-9]\d{1,4})(?![\d.])",
    flags=re.IGNORECASE,
)
_PATH = Pattern(
    r"['\"](?P<quoted>(?:\.{0,2}/|~/)[^'\"\n]+)['\"]|(?<![\w/:.])(?P<bare>\.{0,2}/[\w./@+-]+)", "/"
)
_HARMLESS = Pattern(
    r"^(?:\S{1,40}\s+){0,3}?[\[(]?(?:INFO|DEBUG|TRACE|NOTICE)\b",
    *("info", "debug", "trace", "notice"),
    flags=re.IGNORECASE,
)
_QUOTED = Pattern(r"^\s*\| ?", "|")
_KEY_ERROR = Pattern(r"\bKeyError: ['\"](?P<name>[A-Z][A-Z0-9_]+)['\"]", "KeyError")


def tells(line: str) -> bool:
    """Whether a line of a log may tell of a fault: not if it says of itself that it is none."""
    return _HARMLESS.match(line) is None


def classify_line(line: str, *, environ_lookup: bool = False) -> Issue | None:
    """The issue that one line tells of; None if it tells of none.

    ``environ_lookup``: the error came out of ``os.environ``, so a missing key is a variable.
    """
    lowered = line.lower()
    if not any(hint in lowered for hint in _HINTS):
        return None
    quoted = _QUOTED.match(line)
    shown = one_line((line if quoted is None else line[quoted.end() :]).strip(), 400)
    missing = _KEY_ERROR.search(line) if environ_lookup else None
    if missing is not None:
        return Issue(name="configuration", message=f"environment variable {missing['name']} is not set")
    for name, pattern in _RULES:
        if pattern.search(line):
            return _details(Issue(name=name, message=shown), line)
    return None


def _details(issue: Issue, line: str) -> Issue:
    match issue.name:
        case "dependency":
            found = _MODULE.search(line) or _IMPORT_FROM.search(line)
            if found is not None:
                module = found["module"] or found.groupdict().get("other") or ""
                package = None if _IMPORT_FROM.search(line) else package_of(module)
                return replace(issue, module=module, package=package)
        case "port":
            port = _PORT.search(line)
            if port is not None and int(port["port"]) <= 65535:
                return replace(issue, port=int(port["port"]))
        case "permission" | "configuration" | "resource":
            path = _PATH.search(line)
            if path is not None:
                return replace(issue, path=path["quoted"] or path["bare"])
        case _:
            pass
    return issue


def classify_raised(chain: Sequence[Raised]) -> Issue:
    """The issue of a traceback, given its exceptions with the cause first."""
    for raised in chain:
        issue = classify_line(raised.text, environ_lookup=raised.environ)
        if issue is not None:
            return issue
    return Issue(name="unknown", message=one_line(chain[0].text, 400))


def classify(error: str, tail: Iterable[str] = ()) -> Issue:
    """The issue behind an error, given also the last lines of the component's log.

    The last traceback in the log counts most, then the last telling line, then the error itself.
    """
    reader = TracebackReader()
    from_traceback: Issue | None = None
    from_line: Issue | None = None
    lines = [*error.splitlines(), *(part for line in tail for part in line.splitlines())]
    for number, line in enumerate(lines, 1):
        belongs, chain = reader.feed(number, line)
        if chain is not None:
            from_traceback = classify_raised(chain)
        if not belongs and tells(line):
            from_line = classify_line(line) or from_line
    chain = reader.close()
    if chain is not None:
        from_traceback = classify_raised(chain)
    if from_traceback is not None and (from_traceback.name != "unknown" or from_line is None):
        return from_traceback
    return from_line or Issue(name="unknown", message=one_line(error, 400))
