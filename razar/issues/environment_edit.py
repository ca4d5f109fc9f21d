"""Adds a dependency to razar_env.yaml without touching a character of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from razar.issues.package_names import normalise

__all__ = ["EditError", "add_dependency", "layers"]

#: Characters beyond which a file is not edited.
SIZE_LIMIT = 1_000_000
#: Opening brackets beyond which a file is not edited.
BRACKETS = 1000


class EditError(Exception):
    """The file cannot be edited safely; the message says why."""


def layers(text: str) -> dict[str, list[str]]:
    """The layers of a razar_env.yaml with their dependencies. Raises EditError."""
    return {_text(layer): _dependencies(dependencies) for _, layer, dependencies in _environments(text)}


def add_dependency(text: str, layer: str, package: str) -> str:
    """The text with one more dependency in a layer. Raises EditError if that is not safe.

    The result is parsed again: nothing but the one list may have changed.
    """
    before = layers(text)
    if layer not in before:
        raise EditError(f"there is no layer {layer} in the file; add one with its python and dependencies")
    if any(normalise(_name(present)) == normalise(package) for present in before[layer]):
        raise EditError(f"{package} is already listed in layer {layer}; rebuild its environment")
    changed = _insert(text, layer, package)
    if layers(changed) != before | {layer: [*before[layer], package]}:
        raise EditError("the file is written in a way that cannot be edited safely")
    return changed


def _insert(text: str, layer: str, package: str) -> str:
    entry, dependencies = next(
        (entry, dependencies) for entry, name, dependencies in _environments(text) if _text(name) == layer
    )
    if dependencies is None:
        key, value = entry.value[-1]
        if entry.flow_style:
            return _splice(text, value.end_mark.index, f", dependencies: [{package}]")
        indent = " " * key.start_mark.column
        return _after_line(text, value.end_mark, f"{indent}dependencies:\n{indent}  - {package}")
    if dependencies.start_mark.index < entry.start_mark.index:
        raise EditError(f"the dependencies of layer {layer} are an alias of others")
    if dependencies.id == "scalar":
        key = next(key for key, value in entry.value if value is dependencies)
        if dependencies.start_mark.index != dependencies.end_mark.index:
            # A word for nothing: ``null`` or ``~``.
            head, tail = text[: dependencies.start_mark.index], text[dependencies.end_mark.index :]
            return f"{head}[{package}]{tail}"
        indent = " " * key.start_mark.column
        return _after_line(text, key.end_mark, f"{indent}  - {package}")
    if dependencies.flow_style:
        if not dependencies.value:
            return _splice(text, dependencies.end_mark.index - 1, package)
        return _splice(text, dependencies.value[-1].end_mark.index, f", {package}")
    last = dependencies.value[-1]
    indent = " " * dependencies.start_mark.column
    return _after_line(text, last.end_mark, f"{indent}- {package}")


def _splice(text: str, index: int, addition: str) -> str:
    return text[:index] + addition + text[index:]


def _after_line(text: str, mark: Any, addition: str) -> str:
    """Insert whole lines after the one a mark is in, or before it if it stands at a line's beginning."""
    newline = "\r\n" if "\r\n" in text else "\n"
    addition = addition.replace("\n", newline)
    # The end mark of a block is the beginning of what follows: go back to its last character.
    index = len(text[: mark.index].rstrip())
    end = text.find("\n", index)
    if end < 0:
        return f"{text}{newline}{addition}{newline}"
    return _splice(text, end + 1, addition + newline)


def _environments(text: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the nodes (entry, layer, dependencies or None) of every environment."""
    import yaml

    if len(text) > SIZE_LIMIT:
        raise EditError(f"the file has more than {SIZE_LIMIT} characters")
    if text.count("[") + text.count("{") > BRACKETS:
        # The parser's work grows with the square of the depth.
        raise EditError(f"the file has more than {BRACKETS} brackets")
    try:
        # Composing does not expand aliases, so a document made of them stays small.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as fault:
        raise EditError(f"the file is no valid YAML: {str(fault).splitlines()[0]}") from None
    environments = _value(root, "environments")
    if environments is None or environments.id != "sequence":
        raise EditError("the file has no list environments:")
    for entry in environments.value:
        layer = _value(entry, "layer")
        if layer is not None:
            yield entry, layer, _value(entry, "dependencies")


def _value(node: Any, key: str) -> Any:
    if node is None or node.id != "mapping":
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _text(node: Any) -> str:
    if node.id != "scalar":
        raise EditError("a layer's name is no text")
    return str(node.value)


def _dependencies(node: Any) -> list[str]:
    if node is None or (node.id == "scalar" and node.tag == "tag:yaml.org,2002:null"):
        return []
    if node.id != "sequence":
        raise EditError("dependencies: is not a list")
    return [_text(item) for item in node.value]


def _name(requirement: str) -> str:
    """The name at the head of a requirement (PEP 508)."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
    return found[1] if found else requirement
