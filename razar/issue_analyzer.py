"""Reads a log and says what went wrong in it, one line per finding, with what to do about it."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from msgspec import Struct

from razar.issues.classes import Issue, classify_line, classify_raised, tells
from razar.issues.package_names import is_known
from razar.issues.tracebacks import Raised, TracebackReader
from razar.utils import files
from razar.utils.redaction import one_line

__all__ = ["Finding", "analyse", "main", "suggestion"]

#: Of a longer line only this many bytes are looked at.
LINE_LIMIT = 16 * 1024
#: Different findings that are kept; a log can hold no end of them.
FINDINGS = 1000

_OURS = re.compile(r"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] (?P<level>INFO|WARN|ERROR) (?P<text>.*)$")
_ABOUT = re.compile(r"^(?:Booting component|Health check (?:passed|failed) for) (?P<id>[a-z0-9][a-z0-9_-]*)$")
_DETAIL = re.compile(r"^(?P<id>[a-z0-9][a-z0-9_-]*): (?P<text>.*)$")
_SETTLED = re.compile(r"^(?:quarantined|failed|blocked)\b")
_COMPONENT_LOG = re.compile(r"/components/(?P<id>[a-z0-9][a-z0-9_-]*)/[^/]+$")


class Finding(Struct):
    """One thing that is wrong. ``line`` is where it was found first, ``count`` how often."""

    line: int
    component: str | None
    issue: Issue
    count: int = 1


class _Analysis:
    def __init__(self, component: str | None) -> None:
        self.component = component
        self.found: dict[tuple[str | None, str, str], Finding] = {}
        self._reader = TracebackReader()
        # A failure that RAZAR reported, until the quoted log explains it better.
        self._pending: tuple[int, str, Issue] | None = None

    def feed(self, number: int, line: str) -> None:
        ours = _OURS.match(line)
        if ours is not None:
            self._finished(self._reader.close())
            self._settle()
            self._own_line(number, ours["level"], ours["text"])
            return
        belongs, chain = self._reader.feed(number, line)
        self._finished(chain)
        if not belongs:
            issue = classify_line(line)
            if issue is not None and tells(line):
                self._add(number, issue)

    def close(self) -> list[Finding]:
        self._finished(self._reader.close())
        self._settle()
        return sorted(self.found.values(), key=lambda finding: finding.line)

    def _own_line(self, number: int, level: str, text: str) -> None:
        about = _ABOUT.match(text)
        if about is not None:
            self.component = about["id"]
            return
        detail = _DETAIL.match(text)
        if detail is not None and detail["id"] != "Mission":
            self.component = detail["id"]
            # What follows from a failure is no failure of its own.
            if level == "ERROR" and not _SETTLED.match(detail["text"]):
                issue = classify_line(detail["text"])
                shown = one_line(detail["text"], 400)
                self._pending = (number, detail["id"], issue or Issue(name="unknown", message=shown))
        elif level != "INFO" and not text.startswith("Mission "):
            issue = classify_line(text)
            if issue is not None:
                self.component = None
                self._add(number, issue)

    def _finished(self, chain: list[Raised] | None) -> None:
        if chain is not None:
            self._add(chain[0].number, classify_raised(chain))

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self.component = pending[1]
            self._add(pending[0], pending[2])

    def _add(self, number: int, issue: Issue) -> None:
        self._pending = None
        subject = issue.module or (str(issue.port) if issue.port else None) or issue.message
        key = (self.component, issue.name, subject)
        if key in self.found:
            self.found[key].count += 1
        elif len(self.found) < FINDINGS:
            self.found[key] = Finding(number, self.component, issue)


def analyse(path: str) -> list[Finding]:
    """Every different finding in a log, in the order of lines. Raises OSError.

    Understands boot_orchestrator.log, the logs of components and bare tracebacks; a log of any
    size takes little memory.
    """
    place = _COMPONENT_LOG.search(os.path.abspath(path))
    analysis = _Analysis(place["id"] if place else None)
    for number, line, _ in files.iterate_lines(path, LINE_LIMIT):
        analysis.feed(number, line.decode("utf-8", "replace").rstrip("\r"))
    return analysis.close()


def suggestion(finding: Finding) -> str:
    """What to do, as particular as it is known."""
    issue = finding.issue
    text = issue.remediation
    match issue.name:
        case "dependency" if issue.package is not None:
            layer = f"the layer of {finding.component}" if finding.component else "its layer"
            # To name a package that no table knows would be to guess what gets installed.
            package = issue.package if is_known(issue.package) else f"what provides {issue.module}"
            return f"{text} Add {package} to {layer} in razar_env.yaml."
        case "dependency" if issue.module is not None and "No module named" in issue.message:
            return f"{text} {issue.module} is part of Python itself: this interpreter lacks it."
        case "port" if issue.port is not None:
            from razar.utils.ports import holder

            who = holder(issue.port)
            return (
                f"{text} Port {issue.port} is held by {who}."
                if who
                else f"{text} Nobody holds {issue.port} now."
            )
        case _:
            return text


def main(argv: list[str] | None = None) -> int:
    """``python -m razar.issue_analyzer``. Exit 0: read, findings or none; 2: usage, unreadable file."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m razar.issue_analyzer", description=__doc__)
    parser.add_argument("logfile", metavar="LOGFILE", help="a log of RAZAR or of a component")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--apply",
        action="store_true",
        help="add missing packages to razar_env.yaml of the mission; the diff is shown, a backup kept",
    )
    arguments = parser.parse_args(argv)
    try:
        findings = analyse(arguments.logfile)
    except OSError as fault:
        print(f"{one_line(arguments.logfile)} cannot be read: {files.why(fault)}", file=sys.stderr)
        return 2
    outcomes: list[dict[str, Any]] = []
    if not arguments.json:
        _print(findings)
    if arguments.apply:
        from razar.issues.fixes import apply

        outcomes = apply(arguments.logfile, findings, None if arguments.json else print)
    if arguments.json:
        _print_json(arguments.logfile, findings, outcomes)
    return 0


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        who = f"{finding.component}: " if finding.component else ""
        often = f" ({finding.count} times)" if finding.count > 1 else ""
        issue = finding.issue
        print(f"{finding.line}: {issue.name}: {who}{issue.message}{often} -> {suggestion(finding)}")
    if not findings:
        print("no findings")


def _print_json(path: str, findings: list[Finding], outcomes: list[dict[str, Any]]) -> None:
    import msgspec

    rows = [
        {
            "line": finding.line,
            "class": finding.issue.name,
            "component": finding.component,
            "message": finding.issue.message,
            "count": finding.count,
            "remediation": finding.issue.remediation,
            "suggestion": suggestion(finding),
            "module": finding.issue.module,
            "package": finding.issue.package,
            "port": finding.issue.port,
            "path": finding.issue.path,
        }
        for finding in findings
    ]
    document = {"file": one_line(path), "findings": rows, "fixes": outcomes}
    print(msgspec.json.format(msgspec.json.encode(document)).decode())


if __name__ == "__main__":
    from razar.utils.pipes import until_closed

    sys.exit(until_closed(main))
