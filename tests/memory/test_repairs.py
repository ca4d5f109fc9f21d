"""A failure of another day is the same failure, and what helped is recalled."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoabzu_memory import MemoryBundle, fingerprint

MONDAY = """2026-03-02T09:15:02.113Z router[4711]: Traceback (most recent call last):
  File "/srv/mission-3/.razar/envs/core/lib/python3.11/site-packages/router/app.py", line 88, in start
ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 8001) at 0x7f3a5c0d2e80"""
FRIDAY = """2026-03-06T23:59:59Z router[99]: Traceback (most recent call last):
  File "/home/ada/stack/.razar/envs/core/lib/python3.12/site-packages/router/app.py", line 91, in start
ConnectionRefusedError: [Errno 111] Connect call failed ('10.0.0.7', 8002) at 0x55d0aa10"""


@pytest.fixture
def bundle(tmp_path: Path) -> MemoryBundle:
    return MemoryBundle(tmp_path / "memory.db")


def test_the_same_fault_on_another_day_has_the_same_fingerprint() -> None:
    monday = fingerprint("router", "network", MONDAY)
    assert monday == fingerprint("router", "network", FRIDAY)
    assert len(monday) == 32 and set(monday) <= set("0123456789abcdef")
    others = [
        fingerprint("store", "network", MONDAY),
        fingerprint("router", "dependency", MONDAY),
        fingerprint("router", "network", MONDAY.replace("Refused", "Reset")),
    ]
    assert len({monday, *others}) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bind to 127.0.0.1:8000 failed", "bind to 10.1.2.3:9000 failed"),
        ("bind to [::1]:80 failed", "bind to [fe80::1:2]:443 failed"),
        ("object at 0x7f00deadbeef", "object at 0x1"),
        ("took 12.5s of 30s", "took 7s of 10s"),
        ("commit 3f2a9c1 is missing", "commit 0b77ae94d2 is missing"),
        ("job 123e4567-e89b-12d3-a456-426614174000 died", "job 00000000-0000-4000-8000-0123456789ab died"),
        ("no such file: /var/lib/a.db", "no such file: ./data/b.db"),
        ("no such file: 'C:\\Users\\a b\\x.db'", "no such file: '/srv/a b/y.db'"),
        ("Mon, 02 Mar 2026 09:15:02 GMT refused", "Sun, 01 Feb 2026 23:15:02 GMT refused"),
        ("[02/Mar/2026:09:15:02 +0000] refused", "[28/Feb/2025:01:02:03 +0100] refused"),
        ("GET http://a.example/x?y=1 failed", "GET https://b.example:8443/z failed"),
        ("\x1b[31merror\x1b[0m: no", "error: no"),
        ("got  -1\n", "got 250 "),
    ],
)
def test_what_changes_from_day_to_day_does_not_count(one: str, other: str) -> None:
    assert fingerprint("c", "k", one) == fingerprint("c", "k", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("No module named 'numpy'", "No module named 'yaml'"),
        ("KeyError: 'host'", "KeyError: 'port'"),
        ("read and/or write", "read or write"),
        ("TimeoutError", "ConnectionError"),
    ],
)
def test_what_makes_the_fault_counts(one: str, other: str) -> None:
    assert fingerprint("c", "k", one) != fingerprint("c", "k", other)


def test_what_held_is_recalled_the_most_reliable_first(bundle: MemoryBundle) -> None:
    name = bundle.record_failure("router", "network", MONDAY)
    often = {"edit": "wait for the store", "files": ["app.py"]}
    once, mixed, never = {"edit": "retry"}, {"edit": "restart"}, {"edit": "pray"}
    for _ in range(3):
        bundle.record_repair(name, often, True)
    bundle.record_repair(name, once, True)
    for held in (True, False, False):
        bundle.record_repair(name, mixed, held)
    bundle.record_repair(name, never, False)
    bundle.close()
    with MemoryBundle(bundle.path) as again:
        assert again.record_failure("router", "network", FRIDAY) == name
        recalled = again.recall_repair(name)
        stats = again.stats()
    told = [(each["repair"], each["held"], each["failed"]) for each in recalled]
    assert told == [(often, 3, 0), (once, 1, 0), (mixed, 1, 2)]
    scores = [each["score"] for each in recalled]
    assert 1 > scores[0] > scores[1] > scores[2] > 0
    assert all(each["first"] <= each["last"] for each in recalled)
    assert (stats["failures"], stats["repairs"]) == (1, 4)


def test_a_repair_is_one_in_whatever_order_it_is_written(bundle: MemoryBundle) -> None:
    name = fingerprint("router", "network", MONDAY)
    bundle.record_repair(name, {"a": 1, "b": {"c": 2, "d": 3}}, True)
    bundle.record_repair(name, {"b": {"d": 3, "c": 2}, "a": 1}, False)
    [recalled] = bundle.recall_repair(name)
    assert (recalled["held"], recalled["failed"]) == (1, 1)


def test_failures_and_repairs_are_found_by_their_words(bundle: MemoryBundle) -> None:
    name = bundle.record_failure("router", "network", MONDAY)
    bundle.record_failure("router", "network", FRIDAY)
    [hit] = bundle.query("connection refused router", layers=["episodic"], deadline=10)["hits"]
    assert hit["metadata"]["fingerprint"] == name and hit["metadata"]["count"] == 2
    bundle.record_repair(name, {"summary": "wait until the vectorstore listens"}, False)
    assert bundle.query("vectorstore", layers=["procedural"], deadline=10)["hits"] == []
    bundle.record_repair(name, {"summary": "wait until the vectorstore listens"}, True)
    [hit] = bundle.query("vectorstore", layers=["procedural"], deadline=10)["hits"]
    assert hit["metadata"]["held"] == 1 and hit["metadata"]["failed"] == 1


def test_nothing_is_recalled_of_a_failure_nobody_met(bundle: MemoryBundle) -> None:
    assert bundle.recall_repair(fingerprint("router", "network", MONDAY)) == []
