"""``expect``: an expression over the answer decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from razar.probes.base import Answer, ProbeError

__all__ = ["Evaluate", "Expectation"]

#: Evaluates an expression over variables; raises whatever the expression language raises.
Evaluate = Callable[[str, dict[str, Any]], object]

_STRING = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_ERROR_WIDTH = 300


class Expectation:
    """Must be exactly true. An expression that looks at the status replaces the rule about it."""

    def __init__(self, expression: str, evaluate: Evaluate) -> None:
        names = re.sub(_STRING, "''", expression)
        self.decides_status = re.search(r"(?<![\w.])status(?!\w)", names) is not None
        self._expression = expression
        self._evaluate = evaluate
        self._reads_json = re.search(r"(?<![\w.])json(?!\w)", names) is not None

    def check(self, answer: Answer, elapsed: float) -> None:
        """Evaluate over an answer that took ``elapsed`` seconds; raises ProbeError."""
        variables: dict[str, Any] = {
            "status": answer.status,
            "headers": answer.headers,
            "body": answer.body.decode(errors="replace"),
            "json": self._json(answer) if self._reads_json else None,
            "elapsed": elapsed,
        }
        try:
            result = self._evaluate(self._expression, variables)
        except Exception as error:
            raise ProbeError(f"expect ({self._expression}) failed: {_text(error)}") from None
        if result is False:
            status = "" if answer.status is None else f"; the status is {answer.status}"
            raise ProbeError(f"expect ({self._expression}) is false{status}")
        if result is not True:
            raise ProbeError(
                f"expect ({self._expression}) gives {type(result).__name__}, expected true or false"
            )

    def _json(self, answer: Answer) -> Any:
        import msgspec

        if answer.truncated:
            raise ProbeError("the answer is too long to be read as JSON")
        try:
            return msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProbeError(f"the answer is not JSON: {_text(error)}") from None


def _text(error: Exception) -> str:
    from razar.utils.redaction import one_line

    return one_line(str(error) or type(error).__name__, _ERROR_WIDTH)
