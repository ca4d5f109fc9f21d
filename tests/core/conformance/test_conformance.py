"""The evaluator against the tests of the CEL specification."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.core.conformance.judge import Report, judge, table
from tests.core.conformance.suite import load, missing_tools

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def report() -> Report:
    missing = missing_tools()
    if missing is not None:
        pytest.skip(missing)
    try:
        cases = load(ROOT / "target" / "cel-spec")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the tests of the CEL specification could not be installed: {error}")
    return judge(cases)


@pytest.mark.timeout(400)
def test_every_expression_of_the_suite_ends_without_a_panic(report: Report) -> None:
    assert report.broken == []


@pytest.mark.timeout(400)
def test_the_page_holds_the_outcome(report: Report) -> None:
    page = (ROOT / "docs" / "cel.md").read_text()
    assert table(report) in page, "write it anew: python -m tests.core.conformance"
    assert report.failures == [] and report.passed.total() >= 1563
