"""Lines and columns of any value of any JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from razar.config.collector import Pointer
from razar.config.positions import Position, scan_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
STYLES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 3]),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (", ", " : "), ("\n,", "\t:\n")]),
    }
)


def pointers(value: object, at: Pointer = ()) -> Iterator[tuple[Pointer, object]]:
    yield at, value
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, item in items:
        yield from pointers(item, (*at, step))


def offset(text: str, position: Position) -> int:
    return len("".join(line + "\n" for line in text.split("\n")[: position.line - 1])) + position.column - 1


@settings(derandomize=True, deadline=None, max_examples=80)
@given(VALUES, STYLES)
def test_every_value_and_key_is_found(value: object, style: dict[str, Any]) -> None:
    text = json.dumps(value, **style)
    wanted = dict(pointers(value))
    scan = scan_json(text, wanted)
    assert set(scan.places) == set(wanted)
    assert scan.repeated == ()
    for pointer, item in wanted.items():
        place = scan.place(pointer)
        assert json.JSONDecoder().raw_decode(text, offset(text, place.value))[0] == item
        if pointer and isinstance(pointer[-1], str):
            assert json.JSONDecoder().raw_decode(text, offset(text, place.key))[0] == pointer[-1]


def test_only_what_is_wanted_is_kept() -> None:
    scan = scan_json('{"a": [1, {"b": 2}], "c": 3}', [("a", 1, "b")])
    assert set(scan.places) == {(), ("a",), ("a", 1), ("a", 1, "b")}


def test_the_nearest_parent_stands_in_for_what_is_missing() -> None:
    scan = scan_json('{\n "a": [1]}', [("a", 5, "b")])
    assert scan.place(("a", 5, "b")).value == Position(2, 7)


def test_repeated_keys_have_both_places() -> None:
    (repeated,) = scan_json('[{"a": 1,\n "b": {"a": 2}, "\\u0061": 3}]', []).repeated
    assert repeated.pointer == (0, "a")
    assert (repeated.first, repeated.again) == (Position(1, 3), Position(2, 17))


def test_columns_count_characters() -> None:
    scan = scan_json('{"é😀": 1}', [("é😀",)])
    assert scan.place(("é😀",)).value == Position(1, 8)


def test_deep_nesting_is_no_recursion() -> None:
    depth = 2000
    scan = scan_json("[" * depth + "]" * depth, [()])
    assert scan.place(()).value == Position(1, 1)
