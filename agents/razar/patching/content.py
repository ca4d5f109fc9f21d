"""What the new text of a file must be: readable, parsed, with all that others rely on still in it."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

from agents.razar.patching.refusal import Refusal

__all__ = ["check_characters", "check_kept", "check_parse", "is_filler"]

# Characters that change the order in which text is shown (Unicode TR 36, 3.1), or do not show at all.
_DECEIVING = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x9f]")
_LONE_RETURN = re.compile("\r(?!\n)")
_COMMENT = re.compile(r"\s*(?:#|//|--|;|/\*|\*).*")
_HEALTH_NAME = re.compile(
    r"(?i)_*(?:is_?|get_?|do_?|check_?|handle_?|on_?)?"
    r"(?:health(?:z|y)?(?:_?check|_?handler|_?probe)?|healthz|readyz?|readiness|livez|liveness|alive)_*(?:check|handler|probe)?"
)


def check_characters(path: str, before: str | None, after: str) -> None:
    """Refuse control characters and characters that deceive the eye, unless the file has them already."""
    known = set(before or "")
    for pattern, what in ((_CONTROL, "control"), (_DECEIVING, "invisible")):
        for found in pattern.finditer(after):
            if found[0] not in known:
                line = after.count("\n", 0, found.start()) + 1
                raise Refusal(f"line {line} of {path!a} holds the {what} character U+{ord(found[0]):04X}")
    if _LONE_RETURN.search(after) and not _LONE_RETURN.search(before or ""):
        raise Refusal(f"the new text of {path!a} holds a carriage return in the middle of a line")


def check_parse(path: str, before: str | None, after: str) -> None:
    """Refuse a file that can no longer be parsed; one that never could be is left to the tests."""
    parse = _PARSERS.get(path.rpartition(".")[2].lower() if "." in path else "")
    if parse is None:
        return
    fault = _fault(parse, after)
    if fault is not None and (before is None or _fault(parse, before) is None):
        raise Refusal(f"{path!a} would not parse: {fault}")


def _fault(parse: Callable[[str], object], text: str) -> str | None:
    try:
        parse(text)
    except (RecursionError, MemoryError):
        return "it is nested too deeply"
    except Exception as error:  # Each format has its own kind of error.
        return " ".join(str(error).split())[:300] or type(error).__name__
    return None


def _python(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _json(text: str) -> object:
    import msgspec

    return msgspec.json.decode(text.removeprefix("\ufeff"))


def _yaml(text: str) -> None:
    import yaml

    # Composed, not constructed: aliases are not multiplied out and no object is made.
    for _ in yaml.compose_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        pass


def _toml(text: str) -> object:
    import tomllib

    return tomllib.loads(text.removeprefix("\ufeff"))


_PARSERS: dict[str, Callable[[str], object]] = {
    "json": _json,
    "py": _python,
    "pyi": _python,
    "toml": _toml,
    "yaml": _yaml,
    "yml": _yaml,
}


def is_filler(path: str, line: str) -> bool:
    """Tell whether a line does nothing: blank, a comment, or Python's pass."""
    if not line.strip() or _COMMENT.fullmatch(line.rstrip("\r")):
        return True
    return path.endswith(".py") and line.strip() in ("pass", "...")


def check_kept(path: str, before: str | None, after: str, health_paths: tuple[str, ...]) -> None:
    """Refuse a patch that takes public names away or changes the code that answers the probe.

    In Python that code is every function named like a health check, or decorated with the probe's
    path, and every branch that compares with it. Elsewhere it is every line that holds the path.
    """
    if before is None:
        if any(_mentions(line, health_paths) for line in after.splitlines()):
            raise Refusal(f"{path!a} would answer the component's own probe")
        return
    if path.endswith(".py") and _fault(_python, before) is None and _fault(_python, after) is None:
        old, new = _python(before), _python(after)
        gone = sorted(_public(old) - _public(new))
        if gone:
            raise Refusal(f"the patch takes {', '.join(gone)} out of {path!a}; others may use it")
        try:
            same = _health_code(old, health_paths) == _health_code(new, health_paths)
        except RecursionError:
            raise Refusal(f"{path!a} is nested too deeply to be compared") from None
    else:
        was, now = ([x for x in text.splitlines() if _mentions(x, health_paths)] for text in (before, after))
        same = was == now
    if not same:
        raise Refusal(f"the patch changes the code in {path!a} that answers the component's probe")


def _mentions(line: str, health_paths: tuple[str, ...]) -> bool:
    return any(len(path) > 1 and path in line for path in health_paths)


def _public(module: ast.Module) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in module.body if isinstance(node, kinds) and not node.name.startswith("_")}


def _health_code(module: ast.Module, health_paths: tuple[str, ...]) -> Counter[str]:
    return Counter(ast.dump(node) for node in _health_nodes(module, health_paths))


def _health_nodes(module: ast.Module, health_paths: tuple[str, ...]) -> Iterator[ast.AST]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named = _HEALTH_NAME.fullmatch(node.name) is not None
            if named or any(_has_constant(part, health_paths) for part in node.decorator_list):
                yield node
        elif isinstance(node, ast.If | ast.IfExp):
            if _has_constant(node.test, health_paths):
                # The branch itself; what follows with elif or else is other code.
                yield node.test
                yield from node.body if isinstance(node, ast.If) else [node.body]
        elif isinstance(node, ast.match_case):
            if _has_constant(node.pattern, health_paths):
                yield from [node.pattern, *node.body]
        elif isinstance(node, ast.Call | ast.Dict) and _has_constant(node, health_paths, deep=False):
            yield node


def _has_constant(node: ast.AST, health_paths: tuple[str, ...], *, deep: bool = True) -> bool:
    parts = ast.walk(node) if deep else ast.iter_child_nodes(node)
    return any(isinstance(part, ast.Constant) and part.value in health_paths for part in parts)
