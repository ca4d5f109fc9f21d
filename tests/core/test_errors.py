"""What goes wrong is told by a typed exception, with its place."""

from __future__ import annotations

import copy
import pickle

import pytest

import neoabzu_core
from neoabzu_core import (
    ConversionError,
    CoreError,
    EvaluationError,
    LimitExceeded,
    ParseError,
    Position,
    UnknownNameError,
    compile_check,
    evaluate_py,
    references,
)

TYPES = [
    value for value in vars(neoabzu_core).values() if isinstance(value, type) and issubclass(value, Exception)
]


def failure(expression: str, variables: dict[str, object] | None = None) -> CoreError:
    with pytest.raises(CoreError) as caught:
        evaluate_py(expression, variables)
    return caught.value


def test_every_type_is_a_value_error_of_the_package() -> None:
    assert len(TYPES) == 7
    for kind in TYPES:
        assert issubclass(kind, CoreError) and issubclass(kind, ValueError)
        assert kind.__module__ == "neoabzu_core"
        assert getattr(neoabzu_core, kind.__name__) is kind
        assert kind.__doc__
    assert issubclass(UnknownNameError, EvaluationError)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_an_exception_made_by_hand_has_the_attributes(kind: type[CoreError]) -> None:
    made = kind("text")
    assert made.position is None and str(made) == "text"
    assert type(pickle.loads(pickle.dumps(made))) is kind


@pytest.mark.parametrize(
    ("error", "kind", "attributes"),
    [
        (failure("1 +"), ParseError, {"position": Position(1, 4, 3)}),
        (failure("a.b", {"a": {}}), EvaluationError, {"position": Position(1, 2, 1)}),
        (failure("true && x"), UnknownNameError, {"name": "x", "position": Position(1, 9, 8)}),
        (failure("x", {"x": [object()]}), ConversionError, {"path": "x[0]", "position": None}),
        (failure("(" * 99), LimitExceeded, {"limit": "nesting", "allowed": 64}),
    ],
    ids=lambda case: case.__name__ if isinstance(case, type) else "",
)
def test_attributes_survive_pickle_and_copy(
    error: CoreError, kind: type[CoreError], attributes: dict[str, object]
) -> None:
    for twin in (error, pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is kind
        assert {name: getattr(twin, name) for name in attributes} == attributes
        assert str(twin) == str(error)


def test_positions_are_pickled_by_name() -> None:
    position = failure("é.ü", {}).position
    assert position is not None
    assert pickle.loads(pickle.dumps(position)) == position
    assert type(position).__module__ == "neoabzu_core"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "line 1, column 1: the expression is empty"),
        ("1 +", "line 1, column 4: the expression ends too early"),
        ("f(1", "line 1, column 2: '(' is not closed"),
        ("'abc", "line 1, column 1: the string is not closed"),
        ("1\n  + x", "line 2, column 5: 'x' is not defined"),
        ("y.z", "line 1, column 2: there is no key 'z'"),
        ("y + 1", "line 1, column 3: '+' is not defined for map and int"),
        ("1 / 0", "line 1, column 3: division by zero"),
        ("'é'.matches('(')", "line 1, column 5: matches: not a regular expression: unclosed group"),
    ],
)
def test_messages_are_for_people(expression: str, message: str) -> None:
    assert str(failure(expression, {"y": {"a": 1}})) == message


def test_the_offset_is_an_index_into_the_text() -> None:
    expression = "'äöü €' == 'x' || 𝒳 == nowhere".replace("𝒳", "'𝒳'")
    error = failure(expression)
    assert isinstance(error, UnknownNameError) and error.position is not None
    assert expression[error.position.offset :] == "nowhere"


@pytest.mark.parametrize("function", [evaluate_py, compile_check, references])
def test_half_a_surrogate_pair_is_no_expression(function: object) -> None:
    with pytest.raises(ParseError, match="half of a surrogate pair"):
        function("'\ud800' == 'x'")  # type: ignore[operator]


def test_messages_hold_no_values() -> None:
    names: dict[str, object] = {"s": "hunter2", "m": {"k": "hunter2"}}
    for expression in (
        "s + 1",
        "int(s)",
        "s.x",
        "m.k.y",
        "-s",
        "s < 1",
        "{s: 1, s: 2}",
        "timestamp(s)",
        "[1][s]",
    ):
        error = failure(expression, names)
        assert "hunter2" not in f"{error} {error.__dict__}"


def test_check_finds_what_evaluation_may_not_reach() -> None:
    compile_check("true || layer == env.X", ["layer", "env"])
    compile_check("anything.goes")
    with pytest.raises(UnknownNameError) as caught:
        compile_check("true || lair == 'x'", {"layer": 1, "env": 2})
    assert caught.value.name == "lair"
    with pytest.raises(UnknownNameError, match="there is no method 'startWith'"):
        compile_check("true || 'x'.startWith('y')")
    with pytest.raises(ParseError, match="unclosed group"):
        compile_check("true || 'x'.matches('(')")
    with pytest.raises(ParseError):
        compile_check("a b")


def test_references_are_the_variables() -> None:
    assert references("env.A == 'x' && crown.capabilities.exists(c, c == wanted) && int(n) > 1") == [
        "crown",
        "env",
        "n",
        "wanted",
    ]
    assert references("1 + 1") == []
