"""What a boot would do, for people and for programs; nothing is started or written."""

from __future__ import annotations

import os
from typing import Any

from razar.config.model import Component, EnvironmentSpec, MissionConfig
from razar.engine.plan import Plan, compile_plan, waves
from razar.utils.redaction import redact

__all__ = ["describe_plan", "show_plan"]


def show_plan(config: MissionConfig, environments: tuple[EnvironmentSpec, ...], *, as_json: bool) -> int:
    """Print the plan; return the exit code."""
    plan = describe_plan(config, environments)
    if as_json:
        import json

        print(json.dumps(plan, indent=2))
    else:
        print("\n".join(_lines(plan)))
    return 0


def describe_plan(config: MissionConfig, environments: tuple[EnvironmentSpec, ...]) -> dict[str, Any]:
    """Return mission, ignition, layers (with what has to be built) and the components in order."""
    plan = compile_plan(config)
    used = {component.layer for component in config.components}
    crown = "off" if config.crown.policy == "off" else redact(config.crown.url or "embedded")
    return {
        "mission": config.mission,
        "config": config.path,
        "ignition": config.ignition,
        "crown": {"url": crown, "policy": config.crown.policy},
        "layers": [
            {
                "layer": spec.layer,
                "python": spec.python,
                "dependencies": list(spec.dependencies),
                "environment": state,
            }
            for spec, state in _environment_states(environments, config.root)
            if spec.layer in used
        ],
        "waves": [list(wave) for wave in waves(plan)],
        "components": [_component(plan, id) for id in plan.order],
        "warnings": list(config.warnings),
    }


def _environment_states(
    environments: tuple[EnvironmentSpec, ...], root: str
) -> list[tuple[EnvironmentSpec, str]]:
    if not environments:
        return []
    from razar.environment_builder import check

    found = check(environments, root=root)
    return [
        (spec, "would be built" if ready is None else "unchanged")
        for spec, ready in zip(environments, found, strict=True)
    ]


def _component(plan: Plan, id: str) -> dict[str, Any]:
    component = plan.components[id]
    return {
        "id": id,
        "layer": component.layer,
        "kind": component.kind,
        "criticality": component.criticality,
        "depends_on": [{"id": d.id, "condition": d.condition} for d in component.depends_on],
        "when": component.when,
        "program": os.path.basename(component.argv[0]),
        "probe": _probe(component),
        "deadline": component.probe.deadline,
        "retries": component.retries,
        "restart": component.restart.policy,
    }


def _probe(component: Component) -> str:
    probe = component.probe
    shown = os.path.basename(probe.argv[0]) if probe.argv else redact(probe.target)
    return shown if probe.kind in ("http", "ws", "grpc") else f"{probe.kind} {shown}".strip()


def _lines(plan: dict[str, Any]) -> list[str]:
    crown = plan["crown"]
    lines = [
        f"mission {plan['mission']}: {len(plan['components'])} components, {plan['ignition']}",
        f"crown   {crown['url']} ({crown['policy']})",
    ]
    for layer in plan["layers"]:
        lines.append(
            f"layer   {layer['layer']}: python {layer['python']}, "
            f"{len(layer['dependencies'])} dependencies, {layer['environment']}"
        )
    width = max(len(component["id"]) for component in plan["components"])
    for number, component in enumerate(plan["components"], 1):
        notes = [component["probe"], f"within {component['deadline']:g} s"]
        if component["depends_on"]:
            wanted = (f"{d['id']} {d['condition']}" for d in component["depends_on"])
            notes.append(f"after {', '.join(wanted)}")
        if component["when"] is not None:
            notes.append(f"when {component['when']}")
        if component["criticality"] == "optional":
            notes.append("optional")
        lines.append(f"{number:4}    {component['id']:{width}}  {component['layer']}: {'; '.join(notes)}")
    return lines
