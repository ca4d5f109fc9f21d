"""Loads a mission: one file in, a MissionConfig out, or every fault of it at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import partial

import msgspec

from razar.config.collector import Collector, Pointer
from razar.config.components import normalise_component
from razar.config.context import CheckExpression, Context
from razar.config.document import has_repeated_keys, read_bytes, reject
from razar.config.faults import quote
from razar.config.graph import check_graph
from razar.config.missions import find_mission
from razar.config.model import Component, MissionConfig
from razar.config.settings import crown_settings, repair_settings
from razar.config.wire import BootConfigFile, ComponentEntry, DependencyEntry, is_set

__all__ = ["find_mission", "load_mission"]


def load_mission(
    path: str,
    *,
    environ: Mapping[str, str],
    layers: Collection[str] | None = None,
    check_expression: CheckExpression | None = None,
) -> MissionConfig:
    """Load and check a configuration; raise ConfigurationError with every fault.

    ``environ`` is where ``${VAR}``, CROWN_WS_URL and PATH come from. ``layers`` are those of
    razar_env.yaml: programs of a component in one of them may come from an environment that is
    not built yet, so they are not looked up; None stands for layers that are not known.
    ``check_expression`` compiles an expression over the variables it is given the names of; without
    it neoabzu_core does, imported only if there is an expression.
    """
    data = read_bytes(path)
    faults = Collector(path)
    try:
        file = msgspec.json.decode(data, type=BootConfigFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        from razar.config.json_document import decode_json
        from razar.config.shape import salvage

        file = salvage(decode_json(data, path), BootConfigFile, faults)
        if not faults:
            faults.add((), "a value of another shape", str(error))
    repeated = has_repeated_keys(data)
    where = os.path.abspath(path)
    if not where.isascii():
        try:
            where.encode()
        except UnicodeEncodeError:
            reject(path, "a path that is not UTF-8", "a path in UTF-8")
    context = Context(
        faults,
        root=os.path.dirname(where),
        environ=environ,
        layers=layers,
        check_expression=check_expression,
    )
    config = _normalise(file, where, context) if is_set(file) else None
    if config is None or repeated or faults:
        from razar.config.positions import scan_json

        raise faults.error(partial(scan_json, data.decode(), repeated_keys=repeated))
    return config


def _normalise(file: BootConfigFile, path: str, context: Context) -> MissionConfig | None:
    """Check everything that needs more than the shape; go on after a fault, to find the others too."""
    crown = crown_settings(file.crown, context)
    repair = repair_settings(file.repair, context)
    entries = file.components if isinstance(file.components, list) else []
    check_graph(entries, context.faults)
    components: list[Component | None] = []
    for number, entry in enumerate(entries):
        if context.faults.full:
            break
        if isinstance(entry, ComponentEntry):
            at: Pointer = ("components", number)
            components.append(normalise_component(entry, at, context, approval=repair.approval or "auto"))
    if context.faults:
        return None
    return MissionConfig(
        mission=file.mission,
        components=tuple([component for component in components if component is not None]),
        root=context.root,
        path=path,
        ignition=file.ignition,
        crown=crown,
        repair=repair,
        warnings=_warnings(file, context),
    )


def _warnings(file: BootConfigFile, context: Context) -> tuple[str, ...]:
    """Tell of layers whose name is nearly that of an environment, and of waits that may never end."""
    warnings = []
    services = {entry.id for entry in file.components if entry.kind == "service"}
    for entry in file.components:
        for item in entry.depends_on:
            if isinstance(item, DependencyEntry) and item.condition == "completed" and item.id in services:
                warnings.append(
                    f"{context.faults.file}: {quote(entry.id)} waits until {quote(item.id)} has completed, and "
                    'that is a service, which may run for ever; is "kind": "task" missing?'
                )
    for layer in dict.fromkeys(entry.layer for entry in file.components):
        if context.layers and layer not in context.layers:
            near = context.faults.suggest(layer, context.layers)
            if near:
                warnings.append(
                    f"{context.faults.file}: layer {quote(layer)} has no environment of its own and gets the "
                    f"interpreter that runs RAZAR; {near}"
                )
    return tuple(warnings)
