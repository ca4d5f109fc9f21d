"""Every form of a health probe, sound and not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from razar.config.model import Probe

from .support import component, faults_of, load, load_one, only_fault


@pytest.mark.parametrize(
    ("form", "probe"),
    [
        ("http://localhost:8000/healthz", Probe(kind="http", target="http://localhost:8000/healthz")),
        ("https://example.org", Probe(kind="http", target="https://example.org")),
        ("HTTP://[::1]:80/?q=1#f", Probe(kind="http", target="HTTP://[::1]:80/?q=1#f")),
        ("tcp://localhost:80", Probe(kind="tcp", target="localhost:80")),
        ("tcp://[::1]:65535", Probe(kind="tcp", target="[::1]:65535")),
        ("grpc://h_1:1", Probe(kind="grpc", target="h_1:1")),
        ("ws://h/x", Probe(kind="ws", target="ws://h/x")),
        ("wss://h:1/x", Probe(kind="ws", target="wss://h:1/x")),
        ("/run/up", Probe(kind="file", target="/run/up")),
        ("cmd: sh -c 'exit 0'", Probe(kind="cmd", argv=("sh", "-c", "exit 0"))),
        ("cmd:sh", Probe(kind="cmd", argv=("sh",))),
        ("log: ready on [0-9]+$", Probe(kind="log", target="ready on [0-9]+$")),
        ("log:${x", Probe(kind="log", target="${x")),
        ("notify", Probe(kind="notify")),
        ("http://localhost:${PORT}/", Probe(kind="http", target="http://localhost:8123/")),
        ("tcp://${HOST:-localhost}:${PORT}", Probe(kind="tcp", target="localhost:8123")),
        ({"tcp": "localhost:${PORT}"}, Probe(kind="tcp", target="localhost:8123")),
        ({"tcp": "tcp://localhost:1"}, Probe(kind="tcp", target="localhost:1")),
        ({"grpc": "h:1", "timeout": 3}, Probe(kind="grpc", target="h:1", timeout=3.0)),
        ({"ws": "ws://h", "failures": 1}, Probe(kind="ws", target="ws://h", failures=1)),
        ({"log": "a{2}$"}, Probe(kind="log", target="a{2}$")),
        ({"notify": True, "deadline": "2m"}, Probe(kind="notify", deadline=120.0)),
        ({"cmd": "sh -c 'exit ${PORT}'"}, Probe(kind="cmd", argv=("sh", "-c", "exit 8123"))),
        ({"cmd": ["sh", "a b"]}, Probe(kind="cmd", argv=("sh", "a b"))),
    ],
)
def test_sound_forms(tmp_path: Path, form: Any, probe: Probe) -> None:
    assert load_one(tmp_path, health=form).probe == probe


@pytest.mark.parametrize("form", ["./logs/up", {"file": "logs/up"}, {"file": "./logs/../logs/up"}])
def test_relative_paths_are_those_of_the_file(tmp_path: Path, form: Any) -> None:
    assert load_one(tmp_path, health=form).probe == Probe(kind="file", target=str(tmp_path / "logs/up"))


@pytest.mark.parametrize("form", ["exit", {"exit": True}])
def test_exit_is_for_tasks(tmp_path: Path, form: Any) -> None:
    assert load_one(tmp_path, health=form, kind="task").probe == Probe(kind="exit")
    assert "service" in only_fault(lambda: load_one(tmp_path, health=form)).found


@pytest.mark.parametrize(
    ("form", "hint"),
    [
        ("", None),
        ("notfy", 'did you mean "notify"?'),
        ("Exit", 'did you mean "exit"?'),
        ("cmd", 'did you mean "cmd:"?'),
        ("localhost:8000", 'did you mean "tcp://localhost:8000"?'),
        ("logs/up.log", "a path starts with / or ./"),
        ("htps://h/", 'did you mean "https://"?'),
        ("ftp://h/", None),
        ("http:/localhost", 'did you mean "http://"?'),
        ("http://", None),
        ("http://:80", None),
        ("http://h:0", None),
        ("http://h:65536", None),
        ("http://h:99999999999999999999", None),
        ("http://h:x/", None),
        ("http://h h/", None),
        ("http://h/\r\nX: y", None),
        ("http://h/é", None),
        ("http://[::1", None),
        ("tcp://h", None),
        ("tcp://h:80/path", None),
        ("tcp://u@h:80", None),
        ("grpc://h", None),
        ("cmd:", None),
        ("cmd: sh '", None),
        ("log:", None),
        ("log: ([", None),
        ("log: " + "(" * 5000, None),
    ],
)
def test_faulty_short_forms(tmp_path: Path, form: str, hint: str | None) -> None:
    fault = only_fault(lambda: load_one(tmp_path, health=form))
    assert fault.pointer == "/components/0/health"
    assert hint is None or fault.hint == hint


@pytest.mark.parametrize(
    ("form", "pointer"),
    [
        ({}, ""),
        ({"interval": 1}, ""),
        ({"http": "http://h", "tcp": "h:1"}, ""),
        ({"http": "ws://h"}, "/http"),
        ({"ws": "http://h"}, "/ws"),
        ({"tcp": "grpc://h:1"}, "/tcp"),
        ({"tcp": "h"}, "/tcp"),
        ({"http": "localhost:80"}, "/http"),
        ({"http": None}, "/http"),
        ({"notify": False}, "/notify"),
        ({"log": "("}, "/log"),
        ({"cmd": []}, "/cmd"),
        ({"cmd": [""]}, "/cmd"),
        ({"cmd": ["no-such-program-here"]}, "/cmd/0"),
        ({"file": ""}, "/file"),
        ({"tcp": "h:1", "timeout": 0}, "/timeout"),
        ({"tcp": "h:1", "timeout": "0ms"}, "/timeout"),
        ({"tcp": "h:1", "timeout": -1}, "/timeout"),
        ({"tcp": "h:1", "interval": "1 s"}, "/interval"),
        ({"tcp": "h:1", "deadline": "1d"}, "/deadline"),
        ({"tcp": "h:1", "deadline": 1e9}, "/deadline"),
        ({"tcp": "h:1", "failures": 0}, "/failures"),
        ({"tcp": "h:1", "successes": 1.5}, "/successes"),
        ({"tcp": "h:1", "expect": "true"}, "/expect"),
        ({"htp": "http://h"}, "/htp"),
    ],
)
def test_faulty_object_forms(tmp_path: Path, form: dict[str, object], pointer: str) -> None:
    def call() -> object:
        return load(tmp_path, component(health=form), check_expression=lambda *_: None)

    fault = only_fault(call)
    assert fault.pointer == "/components/0/health" + pointer


def test_a_value_that_hides_a_command_is_refused(tmp_path: Path) -> None:
    environ = {"PROBE": "cmd: rm -rf /"}
    call = component(health="${PROBE}")
    assert "rm" not in str(only_fault(lambda: load(tmp_path, call, environ=environ)))


def test_expressions_are_compiled(tmp_path: Path) -> None:
    seen: dict[str, Sequence[str]] = {}

    def check(expression: str, variables: Sequence[str]) -> None:
        seen[expression] = variables
        if "==" not in expression:
            raise ValueError("line 1, column 8: a name was expected")

    good = component(health={"http": "http://h", "expect": "status == 204"}, when=" mission == 'x' ")
    assert load(tmp_path, good, check_expression=check).components[0].when == "mission == 'x'"
    assert set(seen["mission == 'x'"]) == {"env", "mission", "layer", "crown"}
    assert set(seen["status == 204"]) == {"status", "headers", "body", "json", "elapsed"}
    bad = component(health={"http": "http://h", "expect": "status ="}, when="mission .")
    faults = faults_of(lambda: load(tmp_path, bad, check_expression=check))
    assert [f.found for f in faults] == [
        '"status =": line 1, column 8: a name was expected',
        '"mission .": line 1, column 8: a name was expected',
    ]


def test_expressions_need_the_extension_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neoabzu_core", None)
    several = [component(id=id, when="mission == 'x'") for id in "ab"]
    fault = only_fault(lambda: load(tmp_path, *several))
    assert "neoabzu_core" in fault.found
    assert "pip install" in (fault.hint or "")
    assert load_one(tmp_path, when="true").when is None


def test_the_extension_module_compiles_expressions(tmp_path: Path) -> None:
    core = pytest.importorskip("neoabzu_core")
    if not hasattr(core, "compile_check"):
        pytest.skip("the extension module is not built")
    assert load_one(tmp_path, when="mission == 'x'").when == "mission == 'x'"
    assert load_one(tmp_path, when="crown.capabilities[0] == 'x'").when is not None  # Crown will say.
    fault = only_fault(lambda: load_one(tmp_path, when="mission"))
    assert fault.pointer == "/components/0/when" and "gives str" in fault.found
    fault = only_fault(lambda: load_one(tmp_path, when="mission == "))
    assert fault.pointer == "/components/0/when"
    assert fault.found.startswith('"mission ==": line 1, column ')
    fault = only_fault(lambda: load_one(tmp_path, when="misson == 'x'"))
    assert fault.hint == 'did you mean "mission"?'
