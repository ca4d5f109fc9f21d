"""Cycles, missing and repeated dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from razar.config.collector import Collector
from razar.config.graph import check_graph
from razar.config.positions import Place, Position, Scan
from razar.config.wire import ComponentEntry

from .support import component, faults_of, load, only_fault


def chain(**edges: list[Any]) -> list[dict[str, Any]]:
    return [component(id=id, depends_on=targets) for id, targets in edges.items()]


def test_the_whole_cycle_is_named(tmp_path: Path) -> None:
    fault = only_fault(lambda: load(tmp_path, *chain(z=["a"], a=["b"], b=[{"id": "c"}], c=["a"])))
    assert "a -> b -> c -> a" in fault.found
    assert fault.pointer == "/components/3/depends_on/0"


def test_every_cycle_is_told(tmp_path: Path) -> None:
    faults = faults_of(lambda: load(tmp_path, *chain(a=["b"], b=["a"], c=["d"], d=["c"])))
    assert [f.found for f in faults] == ["the cycle a -> b -> a", "the cycle c -> d -> c"]


def test_a_component_cannot_wait_for_itself(tmp_path: Path) -> None:
    assert "itself" in only_fault(lambda: load(tmp_path, *chain(a=["a"]))).found


def test_a_missing_dependency_has_the_nearest_id(tmp_path: Path) -> None:
    fault = only_fault(lambda: load(tmp_path, *chain(crown_router=[], b=["crown_ruoter"])))
    assert fault.hint == 'did you mean "crown_router"?'


def test_a_dependency_twice_names_the_first(tmp_path: Path) -> None:
    fault = only_fault(lambda: load(tmp_path, *chain(a=[], b=["a", {"id": "a", "condition": "started"}])))
    assert fault.pointer == "/components/1/depends_on/1/id"
    assert "the first is on line" in (fault.hint or "")


def test_the_end_of_a_service_that_is_always_restarted_cannot_be_waited_for(tmp_path: Path) -> None:
    waits = component(id="b", depends_on=[{"id": "a", "condition": "completed"}])
    fault = only_fault(lambda: load(tmp_path, component(id="a", restart={"policy": "always"}), waits))
    assert fault.pointer == "/components/1/depends_on/0/condition"
    assert '"a" is a service' in fault.found
    task = component(id="a", kind="task", health="exit", restart={"policy": "always"})
    assert load(tmp_path, task, waits).warnings == ()


def test_a_wait_for_the_end_of_a_service_is_a_warning(tmp_path: Path) -> None:
    waits = component(id="b", depends_on=[{"id": "a", "condition": "completed"}])
    [warning] = load(tmp_path, component(id="a"), waits).warnings
    assert '"b" waits until "a" has completed' in warning and '"kind": "task"' in warning


def test_a_diamond_is_no_cycle(tmp_path: Path) -> None:
    config = load(tmp_path, *chain(a=["b", "c"], b=["d"], c=["d"], d=[]))
    assert [len(c.depends_on) for c in config.components] == [2, 1, 1, 0]


def entries(edges: dict[str, list[str]]) -> list[ComponentEntry]:
    return [
        ComponentEntry(id=id, layer="l", entrypoint="x", health="notify", depends_on=list(targets))
        for id, targets in edges.items()
    ]


def test_a_long_chain_is_no_recursion() -> None:
    size = 20_000
    faults = Collector("f")
    check_graph(entries({str(n): [str(n + 1)] for n in range(size)} | {str(size): []}), faults)
    assert not faults
    check_graph(entries({str(n): [str((n + 1) % size)] for n in range(size)}), faults)
    anywhere = Scan({(): Place(Position(1, 1), Position(1, 1))}, ())
    (fault,) = faults.error(lambda wanted: anywhere).faults
    assert fault.found.endswith("… -> 0")


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")), min_size=1))
def test_no_fault_means_an_order_exists(graph: dict[str, set[str]]) -> None:
    graph = {id: {t for t in targets if t in graph and t != id} for id, targets in graph.items()}
    faults = Collector("f")
    check_graph(entries({id: sorted(targets) for id, targets in graph.items()}), faults)
    left = dict(graph)
    while free := [id for id, targets in left.items() if not targets & left.keys()]:
        for id in free:
            del left[id]
    assert bool(faults) == bool(left)
