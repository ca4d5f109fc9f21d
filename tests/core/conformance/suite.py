"""The conformance tests of the CEL specification, from the npm package that carries them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PACKAGE", "Case", "load", "missing_tools"]

PACKAGE = "@bufbuild/cel-spec"
VERSION = "0.6.1"

# The package is a module of JavaScript whose one export is a tree of suites with tests in JSON form.
TO_JSON = """
import { tests } from "@bufbuild/cel-spec/testdata/conformance.js";
const cases = [];
const walk = (suite, section) => {
  for (const test of suite.tests ?? []) cases.push({ section, suite: suite.name, ...test.original });
  for (const inner of suite.suites ?? []) walk(inner, section);
};
for (const suite of tests.suites) walk(suite, suite.name);
process.stdout.write(JSON.stringify(cases));
"""

# Sections that test a part of CEL this evaluator does not have, with the part.
ABSENT_SECTIONS = {
    "block_ext": "blocks, which optimisers write",
    "enums": "protobuf",
    "macros2": "macros with two variables",
    "proto2": "protobuf",
    "proto2_ext": "protobuf",
    "proto3": "protobuf",
}
MESSAGE = re.compile(
    r"TestAllTypes|NestedTestAllTypes|GlobalEnum|google\.protobuf\.(?!Timestamp\b|Duration\b)"
)
WELL_KNOWN = ("type.googleapis.com/google.protobuf.Duration", "type.googleapis.com/google.protobuf.Timestamp")


@dataclass(frozen=True)
class Case:
    """One test: an expression, its variables, and the value or the error it must have."""

    section: str
    name: str
    source: dict[str, Any]

    @property
    def expression(self) -> str:
        return str(self.source["expr"])

    def absent_part(self) -> str | None:
        """What this case needs that no configuration of the evaluator has, or None."""
        if self.section in ABSENT_SECTIONS:
            return ABSENT_SECTIONS[self.section]
        if self.source.get("checkOnly"):
            return "the type checker"
        text = json.dumps(self.source)
        if MESSAGE.search(self.expression) or MESSAGE.search(text) or "enumValue" in text:
            return "protobuf"
        if any(word not in WELL_KNOWN for word in re.findall(r'"@type": "([^"]*)"', text)):
            return "protobuf"
        if '"function"' in text:
            return "functions of the application"
        return None

    def absent_setting(self) -> str | None:
        """A setting under which the case is meant to be evaluated and that cannot be made here, or None."""
        return "a namespace for names" if self.source.get("container") else None


def missing_tools() -> str | None:
    """What is missing to install the package, in words, or None."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if not missing:
        return None
    return f"the tests of the CEL specification come as an npm package: {' and '.join(missing)} not found"


def load(cache: Path) -> list[Case]:
    """Return all tests, installing the package into the folder `cache` unless it is there.

    Raises:
        OSError, subprocess.CalledProcessError: The package could not be installed.
    """
    cases = cache / f"conformance-{VERSION}.json"
    if not cases.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "package.json").write_text('{"private": true, "type": "module"}\n')
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]
        subprocess.run(
            [*install, f"{PACKAGE}@{VERSION}"], cwd=cache, check=True, capture_output=True, timeout=300
        )
        (cache / "to_json.js").write_text(TO_JSON)
        done = subprocess.run(["node", "to_json.js"], cwd=cache, check=True, capture_output=True, timeout=60)
        partial = cases.with_suffix(".part")
        partial.write_bytes(done.stdout)
        partial.replace(cases)
    loaded = json.loads(cases.read_bytes())
    return [Case(case["section"], f"{case['suite']}/{case.get('name', '')}", case) for case in loaded]
