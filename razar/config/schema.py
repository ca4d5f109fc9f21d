"""JSON Schemas (2020-12) of the files, made from the types that decode them."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import msgspec
from msgspec import Struct

from razar.config import brief, environments, wire

__all__ = [
    "Field",
    "boot_config_schema",
    "brief_schema",
    "documented_fields",
    "environments_schema",
    "schemas",
]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PROBES = ("http", "tcp", "grpc", "ws", "file", "cmd", "log", "notify", "exit")


def boot_config_schema() -> dict[str, Any]:
    """Return the schema of boot_config.json."""
    schema = _schema(wire.BootConfigFile, "boot_config.json")
    probe = schema["$defs"]["Probe"]
    # A rule over several keys, which the types cannot say.
    probe["oneOf"] = [{"required": [name]} for name in _PROBES]
    for name in ("notify", "exit"):
        probe["properties"][name]["const"] = True
    return schema


def environments_schema() -> dict[str, Any]:
    """Return the schema of razar_env.yaml."""
    return _schema(environments.EnvironmentsFile, "razar_env.yaml")


def brief_schema() -> dict[str, Any]:
    """Return the schema of a mission brief."""
    return _schema(brief.BriefFile, "mission brief")


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by the name of its file."""
    return {
        "boot_config.schema.json": boot_config_schema(),
        "mission_brief.schema.json": brief_schema(),
        "razar_env.schema.json": environments_schema(),
    }


class Field(Struct, frozen=True):
    """A field as its class is written: name, annotation, and the text below it."""

    name: str
    annotation: str
    text: str


def documented_fields(shape: type) -> tuple[Field, ...]:
    """Read the fields of a class, with their texts, from its source."""
    body = ast.parse(inspect.getsource(shape)).body[0]
    assert isinstance(body, ast.ClassDef)
    fields = []
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            words = " ".join(str(text.value.value).split())
            fields.append(Field(field.target.id, ast.unparse(field.annotation), words))
    return tuple(fields)


def _schema(shape: type[Struct], title: str) -> dict[str, Any]:
    _, definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    renamed: dict[str, Any] = {}
    for name, definition in sorted(definitions.items()):
        cls = next(getattr(module, name) for module in (wire, environments, brief) if hasattr(module, name))
        for field in documented_fields(cls):
            shown = {"description": field.text, **definition["properties"][field.name]}
            definition["properties"][field.name] = shown
        definition["title"] = _short(name)
        definition["description"] = " ".join(definition["description"].split())
        renamed[_short(name)] = definition
    schema = {"$schema": _DIALECT, "title": title, "$ref": f"#/$defs/{_short(shape.__name__)}"}
    result: dict[str, Any] = _renamed_references({**schema, "$defs": renamed})
    return result


def _short(name: str) -> str:
    return name.removesuffix("Entry").removesuffix("File")


def _renamed_references(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            value = {**value, "$ref": _short(reference)}
        return {key: _renamed_references(item) for key, item in value.items()}
    return [_renamed_references(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    import os
    import sys

    from razar.config.reference import write_documentation

    if len(sys.argv) > 1 or not os.path.isfile("docs/configuration.md"):
        sys.exit("usage: python -m razar.config.schema, in a clone of RAZAR: writes its docs/schemas anew")
    for path in write_documentation("."):
        print(path)
