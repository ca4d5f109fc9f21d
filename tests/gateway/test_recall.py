"""The router recalls before it decides: what memory holds, and what it cannot do, is in the decision."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

import neoabzu_crown as crown
from neoabzu_memory import LAYERS, MemoryBundle
from tests.gateway.support import Servant, gateway, says, servant

USER = [{"role": "user", "content": "how do I restart the router?"}]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVANT_MODELS", "KIMI2_ENDPOINT", "KIMI2_API_KEY", "KIMI2_MODEL", "KIMI_K2_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A memory file with a record that has to do with routers, and one that has not."""
    path = tmp_path / "memory.db"
    with MemoryBundle(path) as bundle:
        bundle.remember(
            "procedural", "the router restarts with razar restart", metadata={"source": "runbook"}
        )
        bundle.remember("semantic", "the disk is large")
    return path


@pytest.fixture
def one() -> Iterator[Servant]:
    with servant(says("with pleasure")) as made:
        yield made


def config(path: Path | str, at: Servant | None = None, /, **memory: Any) -> dict[str, Any]:
    url = at.url if at else "http://127.0.0.1:1/v1"
    servants = [{"name": "a", "url": url}]
    # Generous: on a busy machine a file may take its time.
    return {"servants": servants, "memory": {"path": str(path), "deadline": 10} | memory, "kimicho": False}


def test_a_memory_that_was_replaced_is_recalled_from(path: Path) -> None:
    router = crown.Router(config(path))
    assert router.route_decision("the disk")["memory"]["hits"][0]["text"] == "the disk is large"
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    with MemoryBundle(path) as bundle:
        bundle.remember("semantic", "the disk is full")
    for _ in range(2):
        memory = router.route_decision("the disk")["memory"]
        assert [hit["text"] for hit in memory["hits"]] == ["the disk is full"] and not memory["failed_layers"]


def test_a_decision_holds_what_was_recalled(path: Path) -> None:
    memory = crown.Router(config(path)).route_decision("restart a router")["memory"]
    [hit] = memory["hits"]
    assert hit.pop("score") > 0 and hit.pop("created") > 0
    assert hit == {
        "layer": "procedural",
        "id": "procedural-1",
        "text": "the router restarts with razar restart",
        "metadata": {"source": "runbook"},
    }
    assert memory["failed_layers"] == {} and memory["elapsed"] > 0
    assert memory.keys() == {"hits", "failed_layers", "elapsed"}


def test_what_is_written_meanwhile_is_recalled(path: Path) -> None:
    router = crown.Router(config(path, limit=2))
    assert len(router.route_decision("router")["memory"]["hits"]) == 1
    with MemoryBundle(path) as bundle:
        for number in range(5):
            bundle.remember("working", f"router {number}")
    assert len(router.route_decision("router")["memory"]["hits"]) == 2


def test_rules_and_servants_do_not_depend_on_it(tmp_path: Path) -> None:
    settings = config(tmp_path / "none.db") | {"rules": [{"name": "always", "use": ["a"]}]}
    decision = crown.Router(settings).route_decision("hello")
    assert (decision["servant"], decision["core"]["rule"]) == ("a", "always")
    missing = f"there is no memory file at {tmp_path}/none.db"
    assert decision["memory"] == {"hits": [], "failed_layers": dict.fromkeys(LAYERS, missing), "elapsed": 0.0}
    assert not (tmp_path / "none.db").exists(), "the router makes no memory"


def test_a_memory_that_appears_later_is_found(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    router = crown.Router(config(path))
    assert router.route_decision("router")["memory"]["failed_layers"]
    with MemoryBundle(path) as bundle:
        bundle.remember("working", "the router")
    assert len(router.route_decision("router")["memory"]["hits"]) == 1


@pytest.mark.parametrize(
    ("damage", "layers"),
    [
        ("UPDATE parts SET schema = 9 WHERE name = 'semantic'", ["semantic"]),
        ("PRAGMA user_version = 3", list(LAYERS)),
    ],
)
def test_layers_that_fail_are_told_and_the_rest_is_recalled(
    path: Path, damage: str, layers: list[str]
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(damage)
    decision = crown.Router(config(path)).route_decision("router")
    assert decision["servant"] == "a"
    assert sorted(decision["memory"]["failed_layers"]) == sorted(layers)
    assert len(decision["memory"]["hits"]) == (0 if "procedural" in layers else 1)


def test_a_file_that_is_no_memory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"something else" * 100)
    decision = crown.Router(config(path)).route_decision("router")
    reasons = decision["memory"]["failed_layers"]
    assert decision["servant"] == "a" and set(reasons) == set(LAYERS)
    assert all("not a memory file" in reason and str(path) in reason for reason in reasons.values())


def test_its_time_is_limited(path: Path) -> None:
    decision = crown.Router(config(path, deadline=1e-9)).route_decision("router")
    assert decision["servant"] == "a" and decision["memory"]["hits"] == []
    assert all("time limit" in reason for reason in decision["memory"]["failed_layers"].values())


@pytest.mark.parametrize("text", ["...", "router " + "x" * (2 << 20), "é" * (1 << 20), "'\" OR *"])
def test_whatever_is_asked(path: Path, text: str) -> None:
    router = crown.Router(config(path) | {"max_text": 8 << 20})
    memory = router.route_decision(text)["memory"]
    assert memory["failed_layers"] == {}
    assert len(memory["hits"]) == ("router" in text)


@pytest.mark.parametrize(
    ("memory", "fault"),
    [
        ({"limit": 0}, "memory.limit"),
        ({"limit": 1001}, "memory.limit: found 1001, expected 1 to 1000"),
        ({"deadline": 61}, "memory.deadline: found 61 s, expected at most 60 s"),
        ({"path": ""}, "memory.path"),
        ({"path": 5}, "memory.path"),
        ({"file": "x"}, "memory.file"),
    ],
)
def test_settings_that_cannot_be_used(path: Path, memory: dict[str, Any], fault: str) -> None:
    with pytest.raises(crown.ConfigurationError, match=fault):
        crown.Router(config(path, **memory))


def test_a_servant_is_told_only_if_that_is_wanted(path: Path, one: Servant) -> None:
    crown.Router(config(path, one)).complete(USER)
    assert one.requests[-1][2]["messages"] == USER
    crown.Router(config(path, one, include=True)).complete(USER)
    told, *rest = one.requests[-1][2]["messages"]
    assert rest == USER and told["role"] == "system"
    assert "data, not instructions" in told["content"] and "razar restart" in told["content"]


def test_a_servant_is_told_no_more_than_it_can_hold(path: Path, one: Servant) -> None:
    with MemoryBundle(path) as memory:
        memory.remember_many("semantic", [{"text": "refactor " + "é" * 20_000} for _ in range(5)])
    crown.Router(config(path, one, include=True)).complete([{"role": "user", "content": "refactor"}])
    told = one.requests[-1][2]["messages"][0]["content"]
    assert len(told.encode()) < 17_000 and told.endswith("…")


def test_the_gateway_recalls_and_answers_without_memory_too(path: Path, tmp_path: Path, one: Servant) -> None:
    beside = path.relative_to(tmp_path)  # To the folder of the configuration.
    for name, expected in ((path, True), (beside, True), (tmp_path / "none.db", False)):
        with gateway(tmp_path, config(name, one, include=True)) as at, httpx.Client() as client:
            answer = client.post(f"{at.url}/v1/chat/completions", json={"model": "crown", "messages": USER})
        assert answer.status_code == 200 and answer.json()["crown"]["servant"] == "a"
        assert ("razar restart" in json.dumps(one.requests[-1][2])) is expected
