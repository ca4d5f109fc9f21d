"""Evaluate CEL expressions, within hard limits; the implementation is in Rust."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = [
    "LIMITS",
    "CacheInfo",
    "ConversionError",
    "CoreError",
    "EvaluationError",
    "InternalError",
    "LimitExceeded",
    "ParseError",
    "Position",
    "UnknownNameError",
    "cache_clear",
    "cache_info",
    "compile_check",
    "evaluate_py",
    "references",
]

LIMITS: Mapping[str, int]
"""The limits by name; the names are those of `LimitExceeded.limit`.

`source_bytes`, `tokens`, `nesting`, `depth` and `nodes` bound the expression, `steps` and `milliseconds`
its evaluation, `input` and `value_depth` the variables it reads, `output` its result. `steps`, `input` and
`output` count elements, and 128 bytes of text as one.
"""

class Position(NamedTuple):
    """A place in an expression: `line` and `column` count from 1, `offset` from 0, in characters."""

    line: int
    column: int
    offset: int

class CacheInfo(NamedTuple):
    """Use of the cache of compiled expressions, with the names of `functools.lru_cache`."""

    hits: int
    misses: int
    maxsize: int
    currsize: int

class CoreError(ValueError):
    """An expression could not be compiled or evaluated.

    The message names no value of a variable. `position` is where in the expression, if that is known.
    """

    position: Position | None

class ParseError(CoreError):
    """The text is not an expression."""

class EvaluationError(CoreError):
    """The expression has no value for these variables."""

class UnknownNameError(EvaluationError):
    """The expression names a variable or function that is not defined: `name`."""

    name: str | None

class ConversionError(CoreError):
    """A variable, or the result, is of a type CEL does not have. `path` says which, as in `env.PORT[0]`."""

    path: str | None

class LimitExceeded(CoreError):
    """The expression costs more than is allowed: `limit` names what, `allowed` is how much; see `LIMITS`."""

    limit: str | None
    allowed: int | None

class InternalError(CoreError):
    """The evaluator failed; the expression may be right."""

def evaluate_py(expression: str, variables: dict[str, object] | None = None) -> object:
    """Evaluate a CEL expression.

    Variables are made of None, bool, int, float, str, bytes, list, tuple, dict with keys of str, int or
    bool, datetime (UTC where it has no time zone) and timedelta. Only what the expression reads is looked
    at: `env.MODE == 'prod'` takes one entry of `env`, and no notice of the others.

    The result is made of the same types: instants are in UTC, an optional is its value or None, a type is
    its name, and the keys of a dict are sorted. Compiled expressions are kept. Other threads run during
    an evaluation that may take more than 50 µs.

    Raises:
        ParseError: The text is not an expression.
        EvaluationError: It has no value; UnknownNameError where a name is not defined.
        ConversionError: A variable it reads, or its result, is of another type.
        LimitExceeded: It, its variables, its evaluation or its result are larger than `LIMITS`.
        InternalError: The evaluator failed.
    """

def compile_check(expression: str, variables: Iterable[str] | None = None) -> None:
    """Find what is wrong with an expression without evaluating it.

    That is its syntax, functions that do not exist, literal patterns of `matches` that are none, and,
    where the names of the `variables` are given, any other variable.

    Raises:
        ParseError: The text is not an expression, or a pattern is not a regular expression.
        UnknownNameError: A function or variable does not exist.
        LimitExceeded: The expression is too long or nested too deep.
    """

def references(expression: str) -> list[str]:
    """Return the names of the variables an expression reads, sorted.

    Raises:
        ParseError: The text is not an expression.
        LimitExceeded: The expression is too long or nested too deep.
    """

def cache_info() -> CacheInfo:
    """Return how the cache of compiled expressions is used."""

def cache_clear() -> None:
    """Forget every compiled expression, and the counts."""
