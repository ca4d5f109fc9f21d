"""What is remembered is found again, as the stub says."""

from __future__ import annotations

import ast
import math
import pickle
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import neoabzu_memory
import razar._native as native
from memory import bundle as face
from memory.bundle import LAYERS, SCHEMA, MemoryBundle


@pytest.fixture
def bundle(tmp_path: Path) -> MemoryBundle:
    return MemoryBundle(tmp_path / "logs" / "memory.db")


def found(bundle: MemoryBundle, text: str) -> list[str]:
    answer = bundle.query(text, deadline=10)
    assert answer["failed_layers"] == {}
    return [hit["text"] for hit in answer["hits"]]


def test_every_layer_is_written_to_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "memory.db"
    for _ in range(2):
        with MemoryBundle(str(path)) as bundle:
            assert bundle.initialize() == dict.fromkeys(LAYERS, "ready")
            stats = bundle.stats()
    assert stats["path"] == str(path) and stats["bytes"] > 0
    assert stats["layers"] == {layer: {"records": 0, "words": 0, "schema": SCHEMA} for layer in LAYERS}
    assert (stats["failures"], stats["repairs"]) == (0, 0)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_record_comes_back_whole(bundle: MemoryBundle) -> None:
    metadata = {"source": "runbook", "n": 1, "nested": [None, True, {"x": 0.5}]}
    before = time.time()
    id = bundle.remember("semantic", "Crème brûlée\n\0🦀 for the router", metadata=metadata)
    answer = bundle.query("ROUTERS brulee", deadline=10)
    [hit] = answer["hits"]
    assert hit.pop("score") > 0 and before - 1 <= hit.pop("created") <= time.time() + 1  # type: ignore[misc]
    assert hit == {
        "layer": "semantic",
        "id": id,
        "text": "Crème brûlée\n\0🦀 for the router",
        "metadata": metadata,
    }
    assert answer["failed_layers"] == {} and answer["elapsed"] > 0
    bundle.close()
    assert found(MemoryBundle(bundle.path), "router") == ["Crème brûlée\n\0🦀 for the router"]


def test_the_better_answer_comes_first_whatever_its_layer(bundle: MemoryBundle) -> None:
    bundle.remember("working", "the router was restarted after the tests of the other components")
    best = bundle.remember("procedural", "restart the router")
    bundle.remember("semantic", "the disk is full")
    hits = bundle.query("how to restart a router", deadline=10)["hits"]
    assert [hit["layer"] for hit in hits] == ["procedural", "working"] and hits[0]["id"] == best
    assert hits[0]["score"] > hits[1]["score"]


def test_only_what_was_asked_for(bundle: MemoryBundle) -> None:
    for layer in LAYERS:
        bundle.remember_many(layer, ({"text": f"same text {n}"} for n in range(5)))
    answer = bundle.query("same", layers=["semantic", "working"], limit=7, deadline=10)
    assert {hit["layer"] for hit in answer["hits"]} == {"semantic", "working"}
    assert len(answer["hits"]) == 7
    assert bundle.query("another")["hits"] == bundle.query("... !!!")["hits"] == []


def test_a_key_names_one_record_of_a_layer(bundle: MemoryBundle) -> None:
    id = bundle.remember("semantic", "apples are red", key="doc")
    assert bundle.remember("semantic", "pears are green", key="doc") == id
    assert bundle.remember("working", "plums are blue", key="doc") != id
    assert (found(bundle, "apples"), found(bundle, "pears")) == ([], ["pears are green"])


def test_what_is_forgotten_is_gone(bundle: MemoryBundle) -> None:
    id = bundle.remember("episodic", "a short life")
    assert bundle.forget(id) is True
    assert bundle.forget(id) is False
    assert found(bundle, "life") == []
    assert bundle.remember("episodic", "another") != id


def test_a_batch_is_kept_whole_or_not_at_all(bundle: MemoryBundle) -> None:
    ids = bundle.remember_many(
        "working", [{"text": f"number n{n}", "metadata": {"n": n}} for n in range(500)]
    )
    assert len(set(ids)) == 500
    with pytest.raises(neoabzu_memory.InvalidInputError, match="record 1 of the batch"):
        bundle.remember_many("working", [{"text": "one more"}, {"text": " "}])
    assert bundle.stats()["layers"]["working"]["records"] == 500
    assert bundle.remember_many("working", []) == []


def test_the_file_is_in_the_logs_unless_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAZAR_LOGS", raising=False)
    assert MemoryBundle().path == str(tmp_path / "logs" / "razar_memory.db")
    assert MemoryBundle(None).path == MemoryBundle().path
    monkeypatch.setenv("RAZAR_LOGS", str(tmp_path / "other"))
    bundle = MemoryBundle()
    assert bundle.path == str(tmp_path / "other" / "razar_memory.db")
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is needed"
    monkeypatch.chdir("/")
    bundle.remember("working", "text")
    assert Path(bundle.path).exists()


def test_a_pickle_opens_the_same_file(bundle: MemoryBundle) -> None:
    bundle.remember("working", "kept text")
    again = pickle.loads(pickle.dumps(bundle))
    assert type(again) is MemoryBundle and again.path == bundle.path
    assert found(again, "kept") == ["kept text"]


def test_every_error_can_be_pickled() -> None:
    for name in neoabzu_memory.__all__:
        if name.endswith("Error"):
            kind = getattr(neoabzu_memory, name)
            again = pickle.loads(pickle.dumps(kind("told")))
            assert (type(again), str(again)) == (kind, "told")
            assert issubclass(kind, neoabzu_memory.BundleError)
    assert issubclass(neoabzu_memory.InvalidInputError, ValueError)


def test_a_closed_bundle_says_so(bundle: MemoryBundle) -> None:
    with bundle:
        bundle.remember("working", "text")
    bundle.close()
    for call in (
        lambda: bundle.query("text"),
        lambda: bundle.remember("working", "text"),
        lambda: bundle.forget("working-1"),
        bundle.stats,
    ):
        with pytest.raises(neoabzu_memory.ClosedError, match="closed"):
            call()
    assert all("closed" in status for status in bundle.initialize().values())


def test_the_stub_and_the_module_agree() -> None:
    tree = ast.parse(Path(neoabzu_memory.__file__).with_suffix(".pyi").read_text())
    #: Shapes of dicts, which are of the stub alone.
    shapes = {"Answer", "Hit", "LayerStats", "Repair", "Stats"}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    names = set(classes) | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    exported = set(neoabzu_memory.__all__)
    assert names - shapes == exported
    assert exported == {name for name in vars(native.neoabzu_memory) if not name.startswith("_")}
    methods = {node.name for node in classes["MemoryBundle"].body if isinstance(node, ast.FunctionDef)}
    assert {name for name in methods if not name.startswith("_")} == {
        name for name in vars(MemoryBundle) if not name.startswith("_")
    }
    assert all(getattr(face, name) is getattr(neoabzu_memory, name) for name in face.__all__)


def test_without_the_extension_the_import_says_what_to_do() -> None:
    script = "import sys; sys.modules['razar._native'] = None; import memory.bundle"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the memory needs RAZAR's Rust extension") and "make setup" in last


def test_floats_come_back_to_the_last_digit(tmp_path: Path) -> None:
    numbers = random.Random(7)
    floats = [numbers.random() for _ in range(1000)]
    while len(floats) < 2000:
        (drawn,) = struct.unpack("d", numbers.randbytes(8))
        floats += [drawn] if math.isfinite(drawn) else []
    with MemoryBundle(tmp_path / "memory.db") as bundle:
        fingerprint = bundle.record_failure("router", "logic", "floats")
        bundle.remember("working", "floats", metadata={"floats": floats})
        bundle.record_repair(fingerprint, {"floats": floats}, True)
        [hit] = bundle.query("floats", layers=["working"], deadline=10)["hits"]
        assert hit["metadata"]["floats"] == floats
        assert bundle.recall_repair(fingerprint)[0]["repair"]["floats"] == floats
