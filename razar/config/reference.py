"""The tables of docs/configuration.md, made from the types that decode the files."""

from __future__ import annotations

import json
import os
import re

import msgspec
from msgspec import NODEFAULT, UNSET, Struct

from razar.config import brief, environments, wire
from razar.config.schema import documented_fields, schemas

__all__ = ["key_tables", "write_documentation"]

_BEGIN, _END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"

_SECTIONS: tuple[tuple[str, type[Struct]], ...] = (
    ("boot_config.json", wire.BootConfigFile),
    ("`components[]`", wire.ComponentEntry),
    ("`components[].health`, object form", wire.ProbeEntry),
    ("`components[].depends_on[]`, object form", wire.DependencyEntry),
    ("`components[].restart`", wire.RestartEntry),
    ("`components[].stop`", wire.StopEntry),
    ("`components[].repair`", wire.RepairScopeEntry),
    ("`components[].limits`", wire.LimitsEntry),
    ("`crown`", wire.CrownEntry),
    ("`repair`", wire.RepairEntry),
    ("`repair.budget`", wire.BudgetEntry),
    ("razar_env.yaml: `environments[]`", environments.EnvironmentEntry),
    ("Mission brief", brief.BriefFile),
    ("Mission brief: `open_issues[]`, object form", brief.IssueEntry),
)
#: Words for the types whose names mean something only in the source.
_WORDS = {
    "Command": "text or list of texts",
    "Components": "list of objects",
    "Count": "whole number",
    "Duration": "duration",
    "Health": "text or object",
    "Label": "name",
    "Name": "name",
    "Positive": "whole number from 1",
    "Priorities": "object of id: whole number",
    "Processors": "number",
    "Size": "size",
    "Statuses": "object of id: text",
    "Tokens": "whole number",
    "Variables": "object of name: text",
    "Version": "text",
    "None": "null",
    "bool": "`true`",
    "str": "text",
}


def key_tables() -> str:
    """Return one Markdown table per object of the files."""
    parts = []
    for title, shape in _SECTIONS:
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        defaults = {field.name: _default(field) for field in msgspec.structs.fields(shape)}
        for field in documented_fields(shape):
            row = (f"`{field.name}`", _words(field.annotation), defaults[field.name], field.text)
            rows.append("| " + " | ".join([cell.replace("|", "\\|") for cell in row]) + " |")
        parts.append(f"### {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default_factory is not NODEFAULT:
        return f"`{json.dumps(field.default_factory())}`"
    return "" if field.default is UNSET or field.default == "" else f"`{json.dumps(field.default)}`"


def _words(annotation: str) -> str:
    choices = re.findall(r"'([^']*)'", annotation)
    if choices:
        return " or ".join([f'`"{choice}"`' for choice in choices])
    text = annotation.replace(" | UnsetType", "")
    inner = re.fullmatch(r"list\[(.*)\]", text)
    if inner:
        return "list of " + _words(inner.group(1))
    names = [_WORDS.get(name, "object") for name in text.split(" | ")]
    return " or ".join(dict.fromkeys(names))


def write_documentation(folder: str) -> list[str]:
    """Write the schemas and the tables below ``folder``, the source tree; return the paths."""
    docs = os.path.join(folder, "docs")
    os.makedirs(os.path.join(docs, "schemas"), exist_ok=True)
    files = {
        os.path.join(docs, "schemas", name): json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }
    page = os.path.join(docs, "configuration.md")
    with open(page, encoding="utf-8") as file:
        before, _, rest = file.read().partition(_BEGIN)
    files[page] = before + _BEGIN + "\n" + key_tables() + "\n" + _END + rest.partition(_END)[2]
    for path, text in files.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return list(files)
