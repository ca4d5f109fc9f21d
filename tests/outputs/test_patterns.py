"""Patterns that are compiled when they are needed find what they would have found at once."""

from __future__ import annotations

import re
import string
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from razar.utils.patterns import Pattern

MODULES = [
    "agents.razar.disclosure.sources",
    "agents.razar.patching.names",
    "agents.razar.providers.profiles",
    "agents.razar.web.endpoint",
    "razar.issues.classes",
    "razar.issues.tracebacks",
]


def patterns(module: str) -> list[Pattern]:
    """All patterns of a module, those in its tables too."""
    values = list(vars(import_module(module)).values())
    rules = [pattern for value in values if isinstance(value, tuple) for pattern in parts(value)]
    return [value for value in values if isinstance(value, Pattern)] + rules


def parts(table: tuple[object, ...]) -> list[Pattern]:
    rows = [row for row in table if isinstance(row, tuple)]
    return [part for row in rows for part in row if isinstance(part, Pattern)]


HINTED = [pattern for module in MODULES for pattern in patterns(module) if pattern.hints]


def test_the_rules_of_all_classes_have_hints() -> None:
    assert len(HINTED) > 15 and sum("exit" in pattern.expression for pattern in HINTED) == 3


@pytest.mark.parametrize("pattern", HINTED, ids=lambda pattern: pattern.expression[:30])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_a_pattern_matches_holds_one_of_its_hints(pattern: Pattern, data: st.DataObject) -> None:
    compiled = re.compile(pattern.expression, pattern.flags)
    text = data.draw(st.from_regex(compiled, alphabet=string.printable))
    found = pattern.search(text)
    assert found is not None and found.span() == compiled.search(text).span()  # type: ignore[union-attr]


def test_nothing_is_compiled_for_a_text_without_a_hint() -> None:
    pattern = Pattern("(", "needle")
    assert pattern.search("hay") is None and pattern.match("hay") is None and pattern.fullmatch("hay") is None
    with pytest.raises(re.error):
        pattern.search("a needle")


def test_hints_do_not_heed_case_where_the_pattern_does_not() -> None:
    assert Pattern("NEEDLE", "needle", flags=re.IGNORECASE).search("a Needle") is not None
    assert Pattern("NEEDLE", "needle").search("a NEEDLE") is None
