"""A sound file becomes a mission; a faulty one tells everything at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from razar.config import wire
from razar.config.faults import ConfigurationError
from razar.config.model import (
    Component,
    CrownSettings,
    Dependency,
    Limits,
    MissionConfig,
    Probe,
    RepairScope,
    RepairSettings,
    Restart,
    Stop,
)

from .support import ENVIRON, component, faults_of, load, load_one, only_fault, write


def test_four_keys_are_enough(tmp_path: Path) -> None:
    health = "http://localhost:8000/healthz"
    config = load(tmp_path, component(entrypoint="python -m http.server 8000", health=health))
    assert config == MissionConfig(
        mission="demo",
        root=str(tmp_path),
        path=str(tmp_path / "boot_config.json"),
        components=(
            Component(
                id="a",
                layer="core",
                argv=("python", "-m", "http.server", "8000"),
                probe=Probe(kind="http", target=health),
                cwd=str(tmp_path),
            ),
        ),
    )


def test_every_key_reaches_the_model(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "vars").write_text("FROM_FILE=1\nBOTH=file\n")
    launcher = tmp_path / "launch.sh"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    full = component(
        id="b",
        kind="task",
        health={
            "cmd": ["sh", "-c", "true"],
            "interval": 2,
            "timeout": "250ms",
            "deadline": "5m",
            "failures": 7,
        }
        | {"successes": 2, "expect": "status == 0"},
        depends_on=["a", {"id": "c", "condition": "completed"}],
        criticality="optional",
        when="env.X == 'y'",
        env={"BOTH": "env", "NUMBER": 5},
        env_file="vars",
        cwd="work",
        restart={"policy": "always", "backoff": "1s", "max_backoff": "1m", "limit": 9, "window": "1h"},
        stop={"signal": "SIGINT", "grace": 0},
        retries=0,
        repair={"paths": ["src/**/*.py"], "tests": ["pytest -q 'a b'", ["make", "test"]]},
        limits={"memory": "512M", "cpu": 1.5, "files": 64, "processes": 8},
    )
    config = load(
        tmp_path,
        component(),
        full,
        component(id="c"),
        check_expression=lambda *_: None,
        ignition="parallel",
        crown={"url": "wss://crown:1/x", "policy": "optional", "timeout": "3s", "required_model": None}
        | {"model_launcher": "./launch.sh"},
        repair={"ladder": ["memory", "kimi2", "airstar"], "attempts": 3, "approval": "ask"}
        | {"budget": {"requests": 1, "tokens": 2, "seconds": "1m", "concurrent": 4}},
    )
    assert config.ignition == "parallel"
    assert config.crown == CrownSettings(
        url="wss://crown:1/x",
        policy="optional",
        timeout=3.0,
        required_model=None,
        model_launcher=str(launcher),
    )
    assert config.repair == RepairSettings(
        ladder=("memory", "kimi2", "airstar"),
        attempts=3,
        budget={"requests": 1, "tokens": 2, "seconds": 60.0, "concurrent": 4},
        approval="ask",
    )
    assert config.components[1] == Component(
        id="b",
        layer="core",
        argv=("python", "app.py"),
        probe=Probe(
            kind="cmd",
            argv=("sh", "-c", "true"),
            expect="status == 0",
            interval=2.0,
            timeout=0.25,
            deadline=300.0,
            failures=7,
            successes=2,
        ),
        kind="task",
        depends_on=(Dependency("a"), Dependency("c", "completed")),
        criticality="optional",
        when="env.X == 'y'",
        env={"FROM_FILE": "1", "BOTH": "env", "NUMBER": "5"},
        cwd=str(tmp_path / "work"),
        restart=Restart(policy="always", backoff=1.0, max_backoff=60.0, limit=9, window=3600.0),
        stop=Stop(signal="INT", grace=0.0),
        retries=0,
        repair=RepairScope(
            paths=("src/**/*.py",), tests=(("pytest", "-q", "a b"), ("make", "test")), approval="ask"
        ),
        limits=Limits(memory=512 * 2**20, cpu=1.5, files=64, processes=8),
    )


def test_object_forms_without_keys_mean_the_defaults_of_the_model(tmp_path: Path) -> None:
    short = load(tmp_path, component(health="tcp://h:1"))
    long = load(
        tmp_path,
        component(health={"tcp": "h:1"}, restart={}, stop={}, limits={}, when="true"),
        crown={},
        repair={},
    )
    assert short == long


def test_every_fault_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """{
  "mission": "Demo",
  "ignition": "paralel",
  "components": [
    {"id": "a", "layer": "core", "entrypoint": "python x.py", "helth": "notify"},
    {"id": "a", "layer": "core", "entrypoint": 5, "health": "notify",
     "depends_on": ["b", "nobody"], "retries": -1},
    {"id": "b", "layer": "core", "entrypoint": "python '", "health": "htp://x",
     "depends_on": [{"id": "b", "condition": "done"}]},
    "c"
  ]
}""",
    )
    from razar.config.load import load_mission

    faults = faults_of(lambda: load_mission(path, environ=ENVIRON, layers=()))
    assert [(f.line, f.column, f.pointer, f.found) for f in faults] == [
        (2, 14, "/mission", '"Demo"'),
        (3, 15, "/ignition", '"paralel"'),
        (5, 5, "/components/0", 'no key "health"'),
        (5, 63, "/components/0/helth", 'the unknown key "helth"'),
        (6, 12, "/components/1/id", '"a" again'),
        (6, 48, "/components/1/entrypoint", "the number 5"),
        (7, 26, "/components/1/depends_on/1", '"nobody", which is no component'),
        (7, 48, "/components/1/retries", "the number -1"),
        (8, 48, "/components/2/entrypoint", "a quote that is not closed in a command"),
        (8, 70, "/components/2/health", '"htp://x"'),
        (9, 28, "/components/2/depends_on/0/id", '"b", the component itself'),
        (9, 46, "/components/2/depends_on/0/condition", '"done"'),
        (10, 5, "/components/3", '"c"'),
    ]
    assert all(f.file == path and f.expected for f in faults)
    hints = {f.pointer: f.hint for f in faults}
    assert hints["/ignition"] == 'did you mean "parallel"?'
    assert hints["/components/0/helth"] == 'did you mean "health"?'
    assert hints["/components/1/id"] == "the first is on line 5"
    assert hints["/components/2/health"] == 'did you mean "http://"?'


def test_faults_of_shape_do_not_hide_the_others(tmp_path: Path) -> None:
    first = component(id="first", retries="many", health={"http": 5, "interval": "soon"})
    second = component(id="second", env={"A": None, "B": "${MISSING}"}, cwd="nowhere", depends_on=["frist"])
    pointers = {fault.pointer for fault in faults_of(lambda: load(tmp_path, first, second))}
    assert pointers == {
        "/components/0/retries",
        "/components/0/health/http",
        "/components/0/health/interval",
        "/components/1/env/A",
        "/components/1/env/B",
        "/components/1/cwd",
        "/components/1/depends_on/0",
    }


def test_a_key_twice_in_an_object_is_a_fault(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"mission": "demo",\n "components": [{"id": "a", "layer": "l", "entrypoint": "sh",\n'
        '   "health": "notify", "health": "tcp://h:1"}],\n "mission": "demo"}',
    )
    from razar.config.load import load_mission

    faults = faults_of(lambda: load_mission(path, environ=ENVIRON, layers=()))
    assert [(f.pointer, f.line, f.hint) for f in faults] == [
        ("/components/0/health", 3, "the first is on line 3"),
        ("/mission", 4, "the first is on line 1"),
    ]


@pytest.mark.parametrize("text", ['": "', "a\\\\", '\\"x\\": 1', "{:}", ':::"', "'"])
def test_texts_full_of_punctuation_are_no_repeated_keys(tmp_path: Path, text: str) -> None:
    assert load_one(tmp_path, env={"A": text, text.replace("=", "") or "B": ":"}).env["A"] == text


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"restart": {"backoff": "1m"}}, "/components/0/restart"),
        ({"restart": {"window": 0}}, "/components/0/restart/window"),
        ({"restart": {"limit": True}}, "/components/0/restart/limit"),
        ({"restart": {"policy": "no"}}, "/components/0/restart/policy"),
        ({"stop": {"signal": "TREM"}}, "/components/0/stop/signal"),
        ({"stop": {"signal": "SIGSTOP"}}, "/components/0/stop/signal"),
        ({"stop": {"grace": "9000h"}}, "/components/0/stop/grace"),
        ({"limits": {"memory": "0M"}}, "/components/0/limits/memory"),
        ({"limits": {"memory": "many"}}, "/components/0/limits/memory"),
        ({"limits": {"cpu": 0}}, "/components/0/limits/cpu"),
        ({"limits": {"files": 1.5}}, "/components/0/limits/files"),
        ({"repair": {"paths": ["../x"]}}, "/components/0/repair/paths/0"),
        ({"repair": {"paths": ["/etc/*"]}}, "/components/0/repair/paths/0"),
        ({"repair": {"tests": ["pytest '"]}}, "/components/0/repair/tests/0"),
        ({"layer": "../up"}, "/components/0/layer"),
        ({"id": "a/b"}, "/components/0/id"),
        ({"id": "a\n"}, "/components/0/id"),
        ({"id": "x" * 64}, "/components/0/id"),
        ({"cwd": ""}, "/components/0/cwd"),
        ({"entrypoint": []}, "/components/0/entrypoint"),
        ({"entrypoint": " "}, "/components/0/entrypoint"),
        ({"entrypoint": ["python", "a\0b"]}, "/components/0/entrypoint/1"),
        ({"env_file": "nothing"}, "/components/0/env_file"),
    ],
)
def test_values_out_of_range(tmp_path: Path, changes: dict[str, object], pointer: str) -> None:
    assert only_fault(lambda: load_one(tmp_path, **changes)).pointer == pointer


@pytest.mark.parametrize("value", [[], "x", 5, None, True, {}, {"mission": "demo"}, {"components": []}])
def test_something_else_than_a_mission(tmp_path: Path, value: object) -> None:
    from razar.config.load import load_mission

    path = write(tmp_path, value)
    for fault in faults_of(lambda: load_mission(path, environ=ENVIRON)):
        assert (fault.line, fault.column) >= (1, 1)


def test_mission_approval_is_the_default_of_its_components(tmp_path: Path) -> None:
    components = component(repair={}), component(id="b", repair={"approval": "never"})
    asked = load(tmp_path, *components, repair={"approval": "ask"}).components
    assert [c.repair and c.repair.approval for c in asked] == ["ask", "never"]
    auto = load(tmp_path, *components).components
    assert [c.repair and c.repair.approval for c in auto] == ["auto", "never"]


def test_a_layer_with_nearly_the_name_of_an_environment_is_a_warning(tmp_path: Path) -> None:
    config = load(tmp_path, component(layer="crwon", entrypoint="sh"), layers=("crown",))
    assert len(config.warnings) == 1
    assert 'did you mean "crown"?' in config.warnings[0]
    assert load(tmp_path, component(layer="other", entrypoint="sh"), layers=("crown",)).warnings == ()


def test_defaults_of_the_file_are_those_of_the_model() -> None:
    assert msgspec.structs.asdict(wire.StopEntry()) == {"signal": Stop().signal, "grace": "10s"}
    restart = msgspec.structs.asdict(wire.RestartEntry())
    assert restart == {
        "policy": "on-failure",
        "backoff": "500ms",
        "max_backoff": "30s",
        "limit": 5,
        "window": "10m",
    }
    assert Restart() == Restart(policy="on-failure", backoff=0.5, max_backoff=30.0, limit=5, window=600.0)


def test_a_ladder_names_agents_that_there_are_each_once(tmp_path: Path) -> None:
    config = load(tmp_path, component(), repair={"ladder": ["memory", "opencode", "acp", "rstar"]})
    assert config.repair.ladder == ("memory", "opencode", "acp", "rstar")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, component(), repair={"ladder": ["kimi", "rstar", "airstar", "rstar", "gpt"]})
    first, second, third = caught.value.faults
    assert (first.pointer, first.found, first.hint) == ("/repair/ladder/0", '"kimi"', 'did you mean "kimi2"?')
    assert "memory, opencode, acp, kimi2, airstar, rstar" in first.expected
    assert (second.pointer, second.found) == ("/repair/ladder/3", '"rstar" once more')
    assert third.pointer == "/repair/ladder/4"
