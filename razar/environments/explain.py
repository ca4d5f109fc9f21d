"""One paragraph for people out of what uv says when it fails."""

from __future__ import annotations

import re

from msgspec import Struct

__all__ = ["explain", "reason"]

#: Longest part of uv's own words in the paragraph, in characters.
LONGEST = 600


class _Rule(Struct, frozen=True):
    """If ``pattern`` is found in uv's output: what it means, and what to do.

    The texts may use the pattern's groups as ``{name}``; the group ``say``, if there is one, is
    quoted in place of uv's error and its causes.
    """

    pattern: re.Pattern[str]
    meaning: str
    advice: str


def _rule(pattern: str, meaning: str, advice: str) -> _Rule:
    return _Rule(re.compile(pattern, re.DOTALL | re.IGNORECASE), meaning, advice)


# The first that fits is taken: causes come before the consequences that uv reports with them.
_RULES = (
    _rule(
        r"No space left on device|os error 28|Disk quota exceeded",
        "the disk is full",
        "Free some space (`uv cache prune` empties what uv no longer needs) and boot again.",
    ),
    _rule(
        r"Read-only file system|os error 30",
        "the disk is read-only",
        "Make the mission folder and uv's cache (UV_CACHE_DIR) writable, or build elsewhere.",
    ),
    _rule(
        r"Permission denied \(os error 13\)|Operation not permitted \(os error 1\)",
        "a file or folder may not be written",
        "Give this user the right to it, or set UV_CACHE_DIR to a folder of its own.",
    ),
    _rule(
        r"(?P<say>[^\n]*(?:401 Unauthorized|403 Forbidden|could not read (?:Username|Password))[^\n]*)",
        "the package index refused the credentials, or was given none",
        "Set them with UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD, or in a netrc file.",
    ),
    _rule(
        r"Couldn't parse requirement.*?\n\s*(?:[\w ]*cause:|[│├╰╭─▶ ]+)\s*(?P<why>[^\n]+)",
        "a dependency is not written as PEP 508 asks ({why})",
        "Correct it in razar_env.yaml.",
    ),
    _rule(
        r"Hash mismatch for `(?P<name>[^`]+)`",
        "what was downloaded for {name} is not what the lock file was made from",
        "If it was published anew on purpose, delete the lock file; otherwise do not trust the index.",
    ),
    _rule(
        r"network was disabled|not found in the cache|because network connectivity is disabled|"
        r"Network connectivity is disabled",
        "something that is needed is not in uv's cache, and the network is not to be used",
        "Boot once without --offline (and without UV_OFFLINE) to fill the cache.",
    ),
    _rule(
        r"invalid peer certificate|certificate verify failed|UnknownIssuer",
        "the package index's certificate is not trusted",
        "Name your certificate authority in SSL_CERT_FILE, or set UV_SYSTEM_CERTS=1.",
    ),
    _rule(
        r"Couldn't resolve host|Could not resolve host|dns error|tcp connect error|Connection refused|"
        r"Connection reset|timed out|Failed to connect to|error sending request|HTTP status server error",
        "the network or the package index cannot be reached",
        "Check the connection, proxy and index settings; what has been fetched before is used by --offline.",
    ),
    _rule(
        r"Failed to (?:download and )?build `(?P<name>[^`]+)`",
        "{name} has no ready-made package for this machine and could not be built",
        "Install what its build asks for (often a compiler or headers), or allow a version that has one.",
    ),
    _rule(
        r"Distribution not found at|does not appear to be a Python project",
        "a local package is not there or is not a Python project",
        "Correct its path in razar_env.yaml; it is relative to that file.",
    ),
    _rule(
        r"does not satisfy Python|(?:depends on|requires) Python ?[<>=]",
        "the dependencies need another version of Python than the layer asks for",
        "Change the layer's python in razar_env.yaml, or allow other versions of the package.",
    ),
    _rule(
        r"has no wheels with a matching|has no (?:usable|compatible) wheels|only has wheels|"
        r"no source distribution",
        "a package has no build for this machine",
        "Allow another version of it, or use another interpreter.",
    ),
    _rule(
        r"Because (?P<name>\S+) was not found in the (?:package registry|provided package locations)",
        "there is no package named {name} in the package index",
        "Check the spelling in razar_env.yaml and the index settings (UV_DEFAULT_INDEX, UV_INDEX).",
    ),
    _rule(
        r"404 Not Found",
        "the package index or address does not have it",
        "Check the address in razar_env.yaml and the index settings.",
    ),
    _rule(
        r"unsatisfiable|No solution found",
        "no set of versions suits all dependencies",
        "Loosen one of them in razar_env.yaml.",
    ),
    _rule(
        r"Git operation failed",
        "a git repository could not be fetched",
        "Check its address, the revision and your access to it.",
    ),
    _rule(
        r"must have a hash|Unexpected '|Couldn't parse|expected the start of a requirement",
        "the lock file is damaged",
        "Restore it from version control, or delete it to have it made anew.",
    ),
)


def reason(output: str) -> str:
    """Return uv's own words as one line: the error and its causes, without build output."""
    words: list[str] = []
    taking = False
    for line in output.splitlines():
        text = re.sub(r"^[\s│├╰╭─▶×]+", "", line)
        if match := re.match(r"(?:error|cause): *(.*)", text):
            taking = True
            words.append(match[1])
        elif line.lstrip().startswith(("×", "├", "╰")):
            taking = True
            words.append(text)
        elif not text or text.startswith(("[std", "--- std", "hint:", "warning:")):
            taking = False
        elif taking:
            words[-1] += " " + text
    text = "; ".join(word.strip().rstrip(".;:") for word in words if word.strip())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def _last_line(output: str) -> str:
    """Return the last line of a failed build's own output: usually the exception."""
    lines = [line.strip() for line in output.split("hint:")[0].splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def explain(step: str, output: str, ending: str | None = None) -> str:
    """Say why ``step`` (``resolving the dependencies`` …) failed, and what to do about it.

    ``output`` must be free of secrets. ``ending`` says how uv ended, if not by itself.
    """
    if ending is not None:
        return f"{step} failed: uv {ending}."
    words = reason(output) or "uv gave no reason"
    for rule in _RULES:
        if match := rule.pattern.search(output):
            groups = {name: value or "" for name, value in match.groupdict().items()}
            words = re.sub(r"^\s*(?:hint|cause|error): *", "", groups.get("say", "")).rstrip(".") or words
            if "be built" in rule.meaning:
                words = f"{words}; {_last_line(output)}"
            return f"{step} failed because {rule.meaning.format(**groups)}: {words}. {rule.advice}"
    return f"{step} failed: {words}."
