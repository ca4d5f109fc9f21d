"""Who depends on whom: ids that occur twice or not at all, and cycles."""

from __future__ import annotations

from razar.config.collector import Collector, Pointer
from razar.config.faults import quote
from razar.config.wire import ComponentEntry, DependencyEntry, RestartEntry

__all__ = ["check_graph"]

#: Cycles told of one file, and ids written out of one cycle.
_TOLD = 100
_WRITTEN = 64


def check_graph(components: list[ComponentEntry], faults: Collector) -> None:
    """Note every fault of the graph. Items and ids may be UNSET where they were faulty in themselves."""
    index: dict[str, int] = {}
    for number, entry in enumerate(components):
        if isinstance(entry, ComponentEntry) and isinstance(entry.id, str):
            first = index.setdefault(entry.id, number)
            if first != number:
                at: Pointer = ("components", number, "id")
                faults.add(at, f"{quote(entry.id)} again", "a unique id", first=("components", first, "id"))
    edges: dict[str, dict[str, Pointer]] = {id: {} for id in index}
    for number, entry in enumerate(components):
        if isinstance(entry, ComponentEntry) and not faults.full:
            targets = _targets(entry, number, index, faults)
            _check_ends(entry, number, components, index, faults)
            if isinstance(entry.id, str):
                edges[entry.id] |= targets
    for cycle in _cycles(edges):
        middle = ["…"] if len(cycle) > _WRITTEN else []
        path = " -> ".join([*cycle[:_WRITTEN], *middle, cycle[0]])
        faults.add(edges[cycle[-1]][cycle[0]], f"the cycle {path}", "dependencies without a cycle")


def _targets(
    entry: ComponentEntry, number: int, index: dict[str, int], faults: Collector
) -> dict[str, Pointer]:
    """Check the dependencies of one component and return those that are sound, with their places."""
    targets: dict[str, Pointer] = {}
    for position, item in enumerate(entry.depends_on):
        target = item.id if isinstance(item, DependencyEntry) else item
        if not isinstance(target, str):
            continue
        at: Pointer = ("components", number, "depends_on", position)
        at = (*at, "id") if isinstance(item, DependencyEntry) else at
        if target == entry.id:
            faults.add(at, f"{quote(target)}, the component itself", "another component")
        elif target not in index:
            hint = faults.suggest(target, index)
            faults.add(at, f"{quote(target)}, which is no component", "the id of a component", hint)
        elif target in targets:
            faults.add(at, f"{quote(target)} again", "each dependency once", first=targets[target])
        else:
            targets[target] = at
    return targets


def _endless(entry: ComponentEntry) -> bool:
    """Tell whether a component can never be ``completed``: it is started again whenever it ends."""
    return (
        entry.kind == "service"
        and isinstance(entry.restart, RestartEntry)
        and entry.restart.policy == "always"
    )


def _check_ends(
    entry: ComponentEntry,
    number: int,
    components: list[ComponentEntry],
    index: dict[str, int],
    faults: Collector,
) -> None:
    """Nobody can wait for the end of what never ends."""
    for position, item in enumerate(entry.depends_on):
        if not isinstance(item, DependencyEntry) or item.condition != "completed" or item.id not in index:
            continue
        if _endless(components[index[item.id]]):
            at: Pointer = ("components", number, "depends_on", position, "condition")
            found = f'"completed", though {quote(item.id)} is a service that is always restarted'
            faults.add(at, found, '"healthy" or "started", or a task')


def _cycles(edges: dict[str, dict[str, Pointer]]) -> list[list[str]]:
    """Find the cycles that a depth-first walk closes. Iterative: a chain may be long."""
    cycles: list[list[str]] = []
    finished: set[str] = set()
    for root, first in edges.items():
        if root in finished:
            continue
        path, place = [root], {root: 0}
        stack = [(root, iter(first))]
        while stack and len(cycles) < _TOLD:
            id, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                stack.pop()
                path.pop()
                del place[id]
                finished.add(id)
            elif target in place:
                cycles.append(path[place[target] :])
            elif target not in finished:
                place[target] = len(path)
                path.append(target)
                stack.append((target, iter(edges[target])))
    return cycles
