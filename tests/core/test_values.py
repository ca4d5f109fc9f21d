"""Values of Python go into CEL and come back."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoabzu_core import LIMITS, ConversionError, LimitExceeded, evaluate_py

INT64 = st.integers(min_value=-(2**63), max_value=2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INSTANT = st.datetimes(timezones=st.just(UTC))
SPAN = st.timedeltas(min_value=timedelta(days=-3_000_000), max_value=timedelta(days=3_000_000))
SCALAR = st.none() | st.booleans() | INT64 | st.floats(allow_nan=False) | TEXT | st.binary() | INSTANT | SPAN
KEY = TEXT | st.integers(min_value=-(2**63), max_value=2**64 - 1)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(KEY, inner), max_leaves=20)


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1 from 1.0 and from True."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(same(left[k], right[k]) for k in left)
        )
    return type(left) is type(right) and bool(left == right)


@given(VALUE)
def test_a_variable_comes_back_unchanged(value: object) -> None:
    assert same(evaluate_py("x", {"x": value}), value)


@given(VALUE)
def test_a_value_equals_itself(value: object) -> None:
    assert evaluate_py("x == x && x in [x] && [x] == y", {"x": value, "y": [value]}) is True


def test_special_floats() -> None:
    nan = evaluate_py("x", {"x": math.nan})
    assert isinstance(nan, float) and math.isnan(nan)
    assert evaluate_py("x == x", {"x": math.nan}) is False
    assert evaluate_py("[x, -x]", {"x": math.inf}) == [math.inf, -math.inf]


def test_subclasses_count_as_what_they_are() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    class Table(dict[str, int]):
        pass

    names = {"c": Colour.RED, "l": Level.HIGH, "t": Table(a=1), "s": ("x", 2)}
    assert evaluate_py("c == 'red' && l > 2 && t.a == 1 && s == ['x', 2]", names) is True
    assert evaluate_py("x[c]", {"x": {Colour.RED: 1}, "c": Colour.RED}) == 1


def test_booleans_and_integers_stay_apart() -> None:
    assert evaluate_py("type(x) == bool && type(y) == int", {"x": True, "y": 1}) is True
    assert evaluate_py("{true: 1, 7: 2}[k]", {"k": True}) == 1


def test_integers_beyond_int64_are_unsigned() -> None:
    assert evaluate_py("type(x)", {"x": 2**63}) == "uint"
    assert evaluate_py("x + 1u", {"x": 2**63}) == 2**63 + 1


def test_instants_are_utc() -> None:
    berlin = datetime(2025, 9, 21, 2, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    naive = datetime(2025, 9, 21)
    offset = datetime(2025, 9, 20, 19, 0, tzinfo=timezone(timedelta(hours=-5)))
    for instant in (berlin, naive, offset):
        result = evaluate_py("x", {"x": instant})
        assert result == datetime(2025, 9, 21, tzinfo=UTC)
        assert isinstance(result, datetime) and result.utcoffset() == timedelta(0)
    assert evaluate_py("x == timestamp('2025-09-21T00:00:00Z')", {"x": berlin}) is True
    assert evaluate_py("x + d", {"x": naive, "d": timedelta(hours=1)}) == datetime(2025, 9, 21, 1, tzinfo=UTC)
    assert evaluate_py("duration('1.5s')") == timedelta(seconds=1.5)


def test_results_without_a_value_of_their_own() -> None:
    assert evaluate_py("type(1)") == "int"
    assert evaluate_py("[optional.of(1), optional.none()]") == [1, None]


def test_keys_of_a_result_are_sorted() -> None:
    assert list(evaluate_py("{'b': 1, 'a': 2, 'c': 3}")) == ["a", "b", "c"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (object(), "x", "CEL has no type for object"),
        ({"a": [1, {2}]}, "x.a[1]", "CEL has no type for set"),
        ({"a": {3: 1j}}, "x.a[3]", "CEL has no type for complex"),
        ({"a": {1.5: 1}}, "x.a[1.5]", "a key is of type float, not string, integer or boolean"),
        ({None: 1}, "x[None]", "a key is of type NoneType, not string, integer or boolean"),
        (2**64, "x", "an integer of more than 64 bits"),
        (-(2**63) - 1, "x", "an integer of more than 64 bits"),
        ("\ud800", "x", "not Unicode text: it holds half of a surrogate pair"),
        ([{"\udfff": 1}], "x[0].\ufffd", "a key is not Unicode text: it holds half of a surrogate pair"),
        (timedelta.max, "x", "a duration of more than ten thousand years"),
        (
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
            "x",
            "an instant outside the years 1 to 9999",
        ),
    ],
    ids=lambda case: repr(case)[:20] if isinstance(case, str) else type(case).__name__,
)
def test_what_cel_has_no_type_for_is_named_with_its_place(value: object, path: str, reason: str) -> None:
    with pytest.raises(ConversionError) as caught:
        evaluate_py("x", {"x": value})
    # One replacement character for each byte that is not UTF-8.
    assert (caught.value.path or "").replace("\ufffd\ufffd\ufffd", "\ufffd") == path
    assert str(caught.value).endswith(f": {reason}")


def test_a_container_that_contains_itself_is_refused() -> None:
    knot: list[object] = []
    knot.append(knot)
    ring: dict[str, object] = {}
    ring["self"] = {"again": ring}
    for value in (knot, ring):
        with pytest.raises(ConversionError, match="or contains itself"):
            evaluate_py("x == 1", {"x": value})


def test_nesting_has_a_limit() -> None:
    def nested(levels: int) -> object:
        value: object = 1
        for _ in range(levels):
            value = [value]
        return value

    allowed = LIMITS["value_depth"]
    assert evaluate_py("x", {"x": nested(allowed)}) == nested(allowed)
    with pytest.raises(ConversionError, match=f"nested deeper than {allowed} levels"):
        evaluate_py("x", {"x": nested(allowed + 1)})


def test_only_what_is_read_is_converted() -> None:
    names = {"env": {"MODE": "prod", "SOCKET": object()}, "unused": object(), 5: 6}
    assert evaluate_py("env.MODE == 'prod' && !has(env.NONE)", names) is True  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match=r"variable env\.SOCKET"):
        evaluate_py("size(env) > 0", names)  # type: ignore[arg-type]


def test_qualified_names_are_variables_too() -> None:
    assert evaluate_py("a.b.c", {"a.b": {"c": 1}, "a": {"b": {"c": 2}}}) == 1


def test_large_text_and_large_variables() -> None:
    body = "x" * 10_000_000 + "needle"
    assert evaluate_py("body.contains('needle') && size(body) == 10000006", {"body": body}) is True
    with pytest.raises(LimitExceeded) as caught:
        evaluate_py("size(x)", {"x": [0] * 2_000_000})
    assert (caught.value.limit, caught.value.allowed) == ("input", LIMITS["input"])
    with pytest.raises(LimitExceeded) as caught:
        evaluate_py("x", {"x": [0] * 200_000})
    assert caught.value.limit == "output"


@pytest.mark.parametrize("arguments", [(b"1",), (1,), (None,), ("1", []), ("x", "x"), ("1", {}, 3)])
def test_arguments_of_another_type_are_type_errors(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        evaluate_py(*arguments)


class Zone(tzinfo):
    """A time zone that does something else on the way."""

    def __init__(self, aside: Callable[[], object]) -> None:
        self.aside = aside

    def utcoffset(self, instant: datetime | None) -> timedelta:
        self.aside()
        return timedelta(0)

    def tzname(self, instant: datetime | None) -> str:
        return "Z"

    def dst(self, instant: datetime | None) -> None:
        return None


def test_a_dict_that_changes_while_it_is_read_is_refused() -> None:
    changing: dict[object, object] = {}
    for change in (partial(changing.setdefault, "more", 1), partial(changing.pop, "last")):
        changing.clear()
        changing |= {"first": datetime(2025, 1, 1, tzinfo=Zone(change)), "last": 2}
        with pytest.raises(ConversionError, match=r"variable x\.y: the dict changed while it was") as caught:
            evaluate_py("size(x)", {"x": {"y": changing}})
        assert caught.value.path == "x.y"


def test_a_list_that_shrinks_while_it_is_read_is_as_long_as_it_is() -> None:
    shrinking: list[object] = []
    shrinking[:] = [datetime(2025, 1, 1, tzinfo=Zone(shrinking.clear)), 1, 2, 3]
    assert evaluate_py("size(x)", {"x": shrinking}) == 1


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, RuntimeError, MemoryError])
def test_what_a_time_zone_raises_goes_through(raised: type[BaseException]) -> None:
    def fail() -> None:
        raise raised("from the zone")

    with pytest.raises(raised, match="from the zone"):
        evaluate_py("x", {"x": [datetime(2025, 1, 1, tzinfo=Zone(fail))]})


def test_what_a_key_raises_goes_through() -> None:
    class Key(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_py("x.a", {"x": {Key("a"): 1}})
