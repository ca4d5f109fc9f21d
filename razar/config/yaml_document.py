"""YAML text to plain values with their places: no tags, no anchors, no recursion, each key once."""

from __future__ import annotations

from typing import Any

from razar.config.collector import Pointer
from razar.config.document import MAX_DEPTH, not_utf8, reject
from razar.config.faults import ConfigurationError, Fault, printable
from razar.config.positions import Place, Position, Repeated, Scan

__all__ = ["Number", "decode_yaml"]

#: Repeated keys told of one text.
_TOLD = 1000
_TRUE = ("yes", "true", "on")


class Number(float):
    """A number as YAML reads it; its text is what stands in the file, as 3.10 reads as 3.1."""

    text = ""

    def __str__(self) -> str:
        return self.text


class _Container:
    """A list or a mapping that is open, at a pointer; ``key`` is the key that waits for its value."""

    __slots__ = ("at", "key", "key_at", "keys", "value")

    def __init__(self, value: dict[str, Any] | list[Any], at: Pointer) -> None:
        self.value = value
        self.at = at
        self.key: str | None = None
        self.key_at = Position(1, 1)
        self.keys: dict[str, Position] = {}


def decode_yaml(data: bytes, file: str) -> tuple[Any, Scan]:
    """Decode one YAML document; raise ConfigurationError where it is not plain data.

    Numbers are :class:`Number`, an empty document is None, dates are texts.
    """
    import yaml

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        not_utf8(data, error, file)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(file, yaml.resolver.Resolver(), yaml.ScalarNode)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event, type(event).__name__)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        found = printable((error.problem or "an error").removeprefix("found "))
        raise builder.error(position, found, "valid YAML") from None
    except (yaml.YAMLError, RecursionError):
        reject(file, "characters that YAML does not allow", "valid YAML in UTF-8")
    return builder.root, Scan(builder.places, tuple(builder.repeated))


class _Builder:
    """Puts the value together from the events of the parser."""

    def __init__(self, file: str, resolver: Any, scalar_node: type) -> None:
        self.root: Any = None
        self.places: dict[Pointer, Place] = {}
        self.repeated: list[Repeated] = []
        self._file = file
        self._resolver = resolver
        self._scalar_node = scalar_node
        self._open: list[_Container] = []
        self._documents = 0

    def error(
        self, position: Position, found: str, expected: str, hint: str | None = None
    ) -> ConfigurationError:
        """Make an error of one fault at a position."""
        line, column = position.line, position.column
        fault = Fault(file=self._file, line=line, column=column, found=found, expected=expected, hint=hint)
        return ConfigurationError([fault])

    def take(self, event: Any, kind: str) -> None:
        """Take the next event in; raise ConfigurationError for what plain data does not have."""
        position = Position(event.start_mark.line + 1, event.start_mark.column + 1)
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise self.error(position, "a second document", "one document")
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._open.pop()
        elif kind == "AliasEvent" or getattr(event, "anchor", None) is not None:
            raise self.error(position, "an anchor or alias", "plain values", "write the value out again")
        elif getattr(event, "tag", None) is not None:
            raise self.error(position, f"the tag {printable(event.tag)}", "plain values without tags")
        elif kind == "ScalarEvent":
            self._scalar(event, position)
        elif kind == "SequenceStartEvent":
            self._container([], position)
        elif kind == "MappingStartEvent":
            self._container({}, position)

    def _scalar(self, event: Any, position: Position) -> None:
        parent = self._open[-1] if self._open else None
        if parent is None or isinstance(parent.value, list) or parent.key is not None:
            self._place(self._plain(event), position)
            return
        key: str = event.value
        first = parent.keys.setdefault(key, position)
        if first is not position and len(self.repeated) < _TOLD:
            self.repeated.append(Repeated((*parent.at, key), first, position))
        parent.key, parent.key_at = key, position

    def _plain(self, event: Any) -> Any:
        """Give a scalar its type; anything but null, booleans and numbers is a text."""
        if not event.implicit[0]:
            return event.value
        tag: str = self._resolver.resolve(self._scalar_node, event.value, (True, False))
        kind = tag.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return event.value.lower() in _TRUE
        if kind not in ("int", "float"):
            return event.value
        try:
            number = Number(event.value)
        except ValueError:  # YAML has forms that Python has not, such as 1:30 and 0o7.
            number = Number("nan")
        number.text = event.value
        return number

    def _container(self, value: dict[str, Any] | list[Any], position: Position) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            raise self.error(position, "a list or an object as a key", "a text as a key")
        if len(self._open) >= MAX_DEPTH:
            raise self.error(
                position, f"more than {MAX_DEPTH} nested lists and objects", f"at most {MAX_DEPTH}"
            )
        self._open.append(_Container(value, self._place(value, position)))

    def _place(self, value: Any, position: Position) -> Pointer:
        """Put a value where it belongs and return its pointer."""
        parent = self._open[-1] if self._open else None
        at: Pointer = ()
        key_at = position
        if parent is None:
            self.root = value
        elif isinstance(parent.value, list):
            at = (*parent.at, len(parent.value))
            parent.value.append(value)
        elif parent.key is not None:
            at, key_at = (*parent.at, parent.key), parent.key_at
            parent.value[parent.key] = value
            parent.key = None
        self.places[at] = Place(position, key_at)
        return at
