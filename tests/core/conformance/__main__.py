"""Write the outcome of the conformance tests into docs/cel.md: `python -m tests.core.conformance`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.core.conformance.judge import judge, replace_table, table
from tests.core.conformance.suite import load, missing_tools

ROOT = Path(__file__).parents[3]


def main() -> int:
    missing = missing_tools()
    if missing is not None:
        print(missing, file=sys.stderr)
        return 1
    report = judge(load(ROOT / "target" / "cel-spec"))
    replace_table(ROOT / "docs" / "cel.md", table(report))
    counts = (
        f"{report.passed.total()} passed, {report.failed.total()} failed, {report.absent.total()} unsupported"
    )
    print(counts, *report.broken, sep="\n")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
