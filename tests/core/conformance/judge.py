"""Evaluate the conformance tests and judge the outcomes."""

from __future__ import annotations

import base64
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neoabzu_core import CoreError, InternalError, LimitExceeded, evaluate_py
from tests.core.conformance.suite import Case

__all__ = ["BEGIN", "END", "Report", "judge", "table"]

BEGIN = "<!-- conformance: begin -->"
END = "<!-- conformance: end -->"


@dataclass
class Report:
    """Outcomes by section, and what went wrong."""

    passed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    parts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def sections(self) -> list[str]:
        return sorted({*self.passed, *self.failed, *self.absent})

    def lacks(self, section: str, part: str) -> None:
        self.absent[section] += 1
        self.parts.setdefault(section, Counter())[part] += 1


class NoForm(Exception):
    """A value of the tests that has no form in Python."""


def python_value(value: dict[str, Any]) -> object:
    """The Python value of a `cel.expr.Value` in JSON form."""
    ((kind, content),) = value.items()
    match kind:
        case "nullValue":
            return None
        case "boolValue" | "stringValue" | "typeValue":
            return content
        case "int64Value" | "uint64Value":
            return int(content)
        case "doubleValue":
            return float(content)
        case "bytesValue":
            return base64.b64decode(content)
        case "listValue":
            return [python_value(item) for item in content.get("values", [])]
        case "mapValue":
            pairs = content.get("entries", [])
            return {python_value(pair["key"]): python_value(pair["value"]) for pair in pairs}
        case "objectValue":
            return well_known(content)
    raise NoForm(kind)


def well_known(content: dict[str, Any]) -> object:
    kind = str(content["@type"]).rsplit(".", 1)[-1]
    if kind == "Duration":
        return evaluate_py("duration(x)", {"x": content["value"]})
    if kind == "Timestamp":
        return evaluate_py("timestamp(x)", {"x": content["value"]})
    raise NoForm(kind)


def equal(expected: object, found: object) -> bool:
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(equal, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(equal(expected[key], found[key]) for key in expected)
    if isinstance(expected, float) and isinstance(found, float) and math.isnan(expected):
        return math.isnan(found)
    plain = (bool, str, bytes, list, dict, datetime, timedelta, type(None))
    numbers = isinstance(expected, int | float) and isinstance(found, int | float)
    if isinstance(expected, plain) or isinstance(found, plain) or not numbers:
        return type(expected) is type(found) and expected == found
    return type(expected) is type(found) and expected == found


def outcome(case: Case) -> str | None:
    """Why the case fails, or None."""
    given = case.source.get("bindings", {})
    variables = {name: python_value(bound["value"]) for name, bound in given.items()}
    try:
        found = evaluate_py(case.expression, variables)
    except (InternalError, LimitExceeded) as error:
        return f"{type(error).__name__}: {error}"
    except CoreError as error:
        return None if "evalError" in case.source else f"{type(error).__name__}: {error}"
    if "evalError" in case.source:
        return f"no error but {found!r}"
    result = (
        case.source.get("typedResult", {}).get("result") or case.source.get("value") or {"boolValue": True}
    )
    expected = python_value(result)
    return None if equal(expected, found) else f"{found!r}, not {expected!r}"


def judge(cases: list[Case]) -> Report:
    report = Report()
    for case in cases:
        part = case.absent_part()
        if part is not None:
            report.lacks(case.section, part)
            # Whatever it is, it must end in a value or an error of ours.
            try:
                evaluate_py(case.expression)
            except InternalError as error:
                report.broken.append(f"{case.section} {case.name}: {case.expression}: {error}")
            except CoreError:
                pass
            continue
        try:
            reason = outcome(case)
        except NoForm as form:
            report.lacks(case.section, f"a Python form of {form}")
            continue
        setting = case.absent_setting()
        if reason is None:
            report.passed[case.section] += 1
        elif setting is not None:
            report.lacks(case.section, setting)
        else:
            report.failed[case.section] += 1
            line = f"{case.section} {case.name}: {case.expression}: {reason}"
            (report.broken if reason.startswith("InternalError") else report.failures).append(line)
    return report


def table(report: Report) -> str:
    """The outcomes as a table in Markdown, and the failures below it."""
    rows = ["| section | passed | failed | unsupported | needs |", "| --- | ---: | ---: | ---: | --- |"]
    for section in report.sections:
        needs = ", ".join(part for part, _ in sorted(report.parts.get(section, Counter()).items()))
        counts = f"{report.passed[section]} | {report.failed[section]} | {report.absent[section]}"
        rows.append(f"| {section} | {counts} | {needs} |")
    total = f"{report.passed.total()} | {report.failed.total()} | {report.absent.total()}"
    rows.append(f"| **all** | {total} | |")
    failures = [f"- `{' '.join(line.split())}`" for line in report.failures]
    return "\n".join([BEGIN, *rows, *(["", "Failed:", "", *failures] if failures else []), END])


def replace_table(page: Path, text: str) -> None:
    """Put `text` where the page has its table."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + text + after)
