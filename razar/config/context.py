"""What every part of a mission is checked against, and the steps that all parts share."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from razar.config.collector import Collector, Pointer
from razar.config.executables import Executables
from razar.config.faults import Problem, describe, printable, quote
from razar.config.units import seconds
from razar.config.wire import LONGEST, is_set
from razar.config.words import expand, split_words

__all__ = ["CheckExpression", "Context"]

#: Compiles an expression over the variables with these names; raises ValueError if it cannot.
CheckExpression = Callable[[str, Sequence[str]], object]


class Context:
    """Variables, folders and layers of one mission; notes faults and returns None where there is one."""

    def __init__(
        self,
        faults: Collector,
        *,
        root: str,
        environ: Mapping[str, str],
        layers: Collection[str] | None,
        check_expression: CheckExpression | None,
    ) -> None:
        self.faults = faults
        self.root = root
        self.environ = dict(environ)
        self.layers = layers
        self.executables = Executables()
        self.folders: dict[str, bool] = {}
        self.env_files: dict[str, dict[str, str]] = {}
        self._check_expression = check_expression
        self._core_missing = False
        self._core: Any = None

    def text(self, at: Pointer, value: str) -> str | None:
        """Expand the variables of a text."""
        try:
            return expand(value, self.environ)
        except Problem as problem:
            self.faults.add_problem(at, problem)
            return None

    def path(self, at: Pointer, value: str) -> str | None:
        """Expand a path and make it absolute; it is relative to the folder of the configuration."""
        text = self.text(at, value)
        if text == "":
            self.faults.add(at, "an empty path", "a path")
            return None
        return None if text is None else os.path.normpath(os.path.join(self.root, text))

    def command(self, at: Pointer, value: str | list[Any]) -> tuple[str, ...] | None:
        """Split a command, then expand each word, so that a value never becomes several words."""
        try:
            written = split_words(value) if isinstance(value, str) else value
        except Problem as problem:
            self.faults.add_problem(at, problem)
            return None
        words = [
            self.text(at if isinstance(value, str) else (*at, number), word) if is_set(word) else None
            for number, word in enumerate(written)
        ]
        if not words or words[0] == "":
            self.faults.add(at, "no program to run", "a command")
            return None
        whole = tuple([word for word in words if word is not None])
        return whole if len(whole) == len(words) else None

    def program(
        self, at: Pointer, value: str | list[str], name: str, *, cwd: str, search: str | None
    ) -> None:
        """Check that the program of a command is there; ``value`` is the command as it was written."""
        shown = (split_words(value) if isinstance(value, str) else value)[0]
        problem = self.executables.problem(name, cwd=cwd, search=search, shown=shown)
        if problem is not None:
            self.faults.add_problem(at if isinstance(value, str) else (*at, 0), problem)

    def duration(self, at: Pointer, value: float | str, *, above_zero: bool = False) -> float:
        """Convert a duration to seconds."""
        result = seconds(value)
        if result > LONGEST:
            self.faults.add(at, quote(str(value)), "a duration of a year at most")
        elif above_zero and result <= 0:
            self.faults.add(at, describe(value), "a duration above zero")
        return result

    def condition(self, at: Pointer, value: str, variables: Mapping[str, object]) -> None:
        """Compile a condition, and note one that is no boolean. What fails for want of an answer may not later."""
        self.expression(at, value, tuple(variables))
        if self._core is None:
            return
        try:
            result = self._core.evaluate_py(value, variables)
        except self._core.CoreError:
            return
        if not isinstance(result, bool):
            self.faults.add(at, f"{quote(value)}, which gives {type(result).__name__}", "true or false")

    def expression(self, at: Pointer, value: str, variables: Sequence[str]) -> str:
        """Compile an expression over ``variables`` to see whether it can be."""
        if self._check_expression is None and not self._core_missing:
            from importlib import import_module

            try:
                self._core = import_module("neoabzu_core")
                self._check_expression = self._core.compile_check
            except (ImportError, AttributeError):
                self._core_missing = True
                self.faults.add(
                    at,
                    "an expression, and no neoabzu_core to evaluate it",
                    "the extension module of RAZAR",
                    'build it with "pip install ." in the source tree (needs cargo)',
                )
        if self._check_expression is not None:
            try:
                self._check_expression(value, variables)
            except ValueError as error:
                unknown = getattr(error, "name", None)
                hint = self.faults.suggest(unknown, variables) if isinstance(unknown, str) else None
                found = f"{quote(value)}: {printable(str(error), 300)}"
                self.faults.add(at, found, f"a CEL expression over {', '.join(variables)}", hint)
        return value
