"""Loads razar_env.yaml: one Python environment per layer, or every fault at once."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from msgspec import Meta

from razar.config.collector import Collector, Pointer
from razar.config.document import read_bytes
from razar.config.faults import Problem, quote
from razar.config.model import EnvironmentSpec
from razar.config.wire import END, Entry, Label, is_set

__all__ = ["EnvironmentEntry", "EnvironmentsFile", "load_environments"]

_MAX_BYTES = 1024 * 1024
_CLAUSE = r"(===?|~=|!=|<=?|>=?) *[0-9]+(\.[0-9]+){0,2}(\.\*)?"

Version = Annotated[
    str,
    Meta(
        pattern=rf"^([0-9]+(\.[0-9]+){{0,2}}|{_CLAUSE}( *, *{_CLAUSE})*){END}",
        extra={"expected": 'a Python version in quotes, like "3.11" or ">=3.11"'},
    ),
]

# PEP 508 as far as it tells names, extras, versions, URLs and markers apart; uv judges the rest.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_EXTRAS = rf"\[\s*(?:{_NAME}\s*(?:,\s*{_NAME}\s*)*)?\]"
_COMPARE = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+"
_VERSIONS = rf"(?:\(\s*{_COMPARE}\s*(?:,\s*{_COMPARE}\s*)*,?\s*\)|{_COMPARE}\s*(?:,\s*{_COMPARE}\s*)*,?)"
_REQUIREMENT = re.compile(
    rf"{_NAME}\s*(?:{_EXTRAS})?\s*(?:@\s*\S+(?:\s+;[^\n]+)?|(?:{_VERSIONS})?\s*(?:;[^\n]+)?)"
)
_LONGEST = 2000
_NAMED = re.compile(rf"(?P<head>{_NAME}\s*(?:{_EXTRAS})?\s*@\s*)(?P<rest>.+)")
_LOCAL = re.compile(rf"(?P<path>.+?)(?P<tail>\s*(?:{_EXTRAS})?(?:\s+;.+)?)")
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".zip")


class EnvironmentEntry(Entry, kw_only=True):
    """The environment of one layer."""

    layer: Label
    """Name of the layer, as components give it."""
    python: Version
    """Python version, in quotes: `"3.11"`, `">=3.11"`, `">=3.11,<3.14"`."""
    dependencies: list[str]
    """Requirements (PEP 508), or local paths relative to the folder of this file."""


class EnvironmentsFile(Entry, kw_only=True):
    """razar_env.yaml: one virtual environment per layer."""

    environments: list[EnvironmentEntry]
    """The environments."""


def load_environments(path: str, *, required: bool = False) -> tuple[EnvironmentSpec, ...]:
    """Load and check the environments; raise ConfigurationError with every fault.

    Without a file there are none, unless it is ``required``. Local paths are made absolute.
    """
    if not required and not os.path.lexists(path):
        return ()
    from razar.config.shape import salvage
    from razar.config.yaml_document import decode_yaml

    value, scan = decode_yaml(read_bytes(path, limit=_MAX_BYTES), path)
    faults = Collector(path)
    _quote_versions(value, faults)
    file = salvage(value, EnvironmentsFile, faults)
    root = os.path.dirname(os.path.abspath(path))
    specs: list[EnvironmentSpec] = []
    first: dict[str, Pointer] = {}
    entries = file.environments if is_set(file) and is_set(file.environments) else []
    for number, entry in enumerate(entries):
        if not is_set(entry):
            continue
        at: Pointer = ("environments", number)
        if is_set(entry.layer) and first.setdefault(entry.layer, (*at, "layer")) != (*at, "layer"):
            faults.add(
                (*at, "layer"), f"{quote(entry.layer)} again", "each layer once", first=first[entry.layer]
            )
        dependencies = []
        for position, text in enumerate(entry.dependencies if is_set(entry.dependencies) else ()):
            try:
                if is_set(text):
                    dependencies.append(_dependency(text, root))
            except Problem as problem:
                faults.add_problem((*at, "dependencies", position), problem)
        if not faults:
            specs.append(
                EnvironmentSpec(layer=entry.layer, python=entry.python, dependencies=tuple(dependencies))
            )
    if faults or scan.repeated:
        raise faults.error(lambda wanted: scan)
    return tuple(specs)


def _quote_versions(value: Any, faults: Collector) -> None:
    """Explain Python versions without quotes: YAML takes them for numbers."""
    entries = value.get("environments") if isinstance(value, dict) else None
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        version = entry.get("python") if isinstance(entry, dict) else None
        if isinstance(version, float):
            entry["python"] = str(version)
            faults.add(
                ("environments", number, "python"),
                f"the number {version}",
                f'the text "{version}", in quotes',
                "YAML reads a version without quotes as a number, and 3.10 as 3.1",
            )


def _dependency(text: str, root: str) -> str:
    """Check a requirement as far as its form goes; make a local path absolute."""
    text = text.strip()
    if not text or "\n" in text or "\0" in text or len(text) > _LONGEST:
        raise Problem(quote(text), f"one requirement, in one line of at most {_LONGEST} characters")
    if text.startswith("-"):
        raise Problem(f"the option {quote(text.split()[0])}", "a requirement (PEP 508) or a local path")
    named = _NAMED.fullmatch(text)
    head, rest = (named["head"], named["rest"]) if named else ("", text)
    local = _LOCAL.fullmatch(rest)
    if local is not None and _is_path(local["path"], named=bool(named)):
        path = os.path.normpath(os.path.join(root, local["path"]))
        if not os.path.exists(path):
            raise Problem(f"{quote(text)}, which is not there", "a local path that exists")
        return head + path + local["tail"]
    if not _REQUIREMENT.fullmatch(" ".join(text.split())):
        hint = "a URL stands after a name: NAME @ URL" if "://" in text and not named else None
        raise Problem(quote(text), 'a requirement (PEP 508) such as "starlette>=0.40", or a local path', hint)
    return text


def _is_path(location: str, *, named: bool) -> bool:
    """Tell a path from a name or URL: only a path or a URL stands after ``name @``."""
    if "://" in location or location.startswith(("file:", "git+")):
        return False
    return named or location.startswith(".") or "/" in location or location.endswith(_ARCHIVES)
