"""The plan: the order of ignition and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from razar.config.model import Component, MissionConfig

__all__ = ["Plan", "compile_plan", "waves"]


class Plan(Struct, frozen=True, kw_only=True):
    """What the engine needs to know of the configuration.

    ``order`` keeps the file's order wherever the dependencies allow it; ``position`` is its
    inverse. ``repair`` are the components whose failures are handed to repair before quarantine.
    """

    mission: str
    parallel: bool
    repair: frozenset[str]
    order: tuple[str, ...]
    position: dict[str, int]
    components: dict[str, Component]
    dependents: dict[str, tuple[str, ...]]


def compile_plan(config: MissionConfig, *, repair: Iterable[str] = ()) -> Plan:
    """Order the components of a checked configuration (no cycles, no missing ids)."""
    components = {component.id: component for component in config.components}
    dependents: dict[str, list[str]] = {id: [] for id in components}
    for component in config.components:
        for dependency in component.depends_on:
            dependents[dependency.id].append(component.id)
    order = _stable_order(components)
    return Plan(
        mission=config.mission,
        parallel=config.ignition == "parallel",
        repair=frozenset(repair),
        order=order,
        position={id: index for index, id in enumerate(order)},
        components=components,
        dependents={id: tuple(ids) for id, ids in dependents.items()},
    )


def _stable_order(components: dict[str, Component]) -> tuple[str, ...]:
    """Depth first, in the file's order; iterative, so that a long chain cannot exhaust the stack."""
    order: list[str] = []
    placed: set[str] = set()
    for root in components:
        stack = [root]
        while stack:
            id = stack[-1]
            if id in placed:
                stack.pop()
                continue
            missing = [d.id for d in components[id].depends_on if d.id not in placed]
            if missing:
                stack.extend(reversed(missing))
            else:
                placed.add(id)
                order.append(id)
                stack.pop()
    return tuple(order)


def waves(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Group the components by the longest chain of dependencies before them."""
    depth: dict[str, int] = {}
    for id in plan.order:
        depth[id] = 1 + max((depth[d.id] for d in plan.components[id].depends_on), default=-1)
    grouped: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for id in plan.order:
        grouped[depth[id]].append(id)
    return tuple(tuple(wave) for wave in grouped)
