"""``razar plan``, ``check`` and ``schema``: nothing is started or written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.commands.mission import Folder, component, razar

WEB = component("web", "exec sleep 1000")
ROUTER = {
    "id": "router",
    "layer": "crown",
    "entrypoint": "python router.py --key ${ROUTER_API_KEY}",
    "health": "http://user:hunter22@localhost:8000/healthz",
    "depends_on": [{"id": "seed", "condition": "completed"}, "web"],
}
SEED = {
    "id": "seed",
    "layer": "core",
    "kind": "task",
    "entrypoint": "true",
    "health": "exit",
    "criticality": "optional",
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(tmp_path, ROUTER, SEED, WEB, ignition="parallel")
    (tmp_path / "razar_env.yaml").write_text(
        'environments:\n  - {layer: crown, python: ">=3.11", dependencies: ["msgspec"]}\n'
        '  - {layer: unused, python: "3.11", dependencies: []}\n'
    )
    return found


def test_the_plan_in_order_with_waves_dependencies_and_environments(folder: Folder) -> None:
    plan = json.loads(folder.razar("plan", "--json", ROUTER_API_KEY="sesame-open").stdout)
    assert [entry["id"] for entry in plan["components"]] == ["seed", "web", "router"]
    assert plan["waves"] == [["seed", "web"], ["router"]]
    assert plan["components"][2]["depends_on"][0] == {"id": "seed", "condition": "completed"}
    assert plan["layers"] == [
        {"layer": "crown", "python": ">=3.11", "dependencies": ["msgspec"], "environment": "would be built"}
    ]
    assert not folder.logs.exists()
    assert sorted(os.listdir(folder.path)) == ["boot_config.json", "razar_env.yaml"]


def test_the_plan_shows_no_secrets(folder: Folder) -> None:
    for options in ((), ("--json",)):
        done = folder.razar("plan", *options, ROUTER_API_KEY="sesame-open")
        assert done.returncode == 0
        for secret in ("sesame-open", "hunter22"):
            assert secret not in done.stdout + done.stderr


def test_the_plan_for_people(folder: Folder) -> None:
    lines = folder.razar("plan", ROUTER_API_KEY="sesame-open").stdout.splitlines()
    assert lines[0] == "mission demo: 3 components, parallel"
    assert any("crown" in line and "would be built" in line for line in lines)
    router = next(line for line in lines if " router " in line)
    assert "after seed completed, web healthy" in router
    assert "optional" in next(line for line in lines if " seed " in line)


def test_check_of_a_sound_mission(folder: Folder) -> None:
    done = folder.razar("check", ROUTER_API_KEY="sesame-open")
    assert done.returncode == 0
    assert "no faults" in done.stdout
    assert folder.razar("check", "--mission", "demo", ROUTER_API_KEY="sesame-open").returncode == 0
    assert folder.razar("check", "--config", "boot_config.json", ROUTER_API_KEY="x" * 8).returncode == 0
    assert not folder.logs.exists()


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_what_is_odd_is_told_and_no_fault(tmp_path: Path, verb: str) -> None:
    waits = {**WEB, "id": "a", "depends_on": [{"id": "web", "condition": "completed"}]}
    folder = Folder(tmp_path, WEB, waits)
    done = folder.razar(verb)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ") and '"a" waits until "web" has completed' in done.stderr
    assert len(folder.json(verb)["warnings"]) == 1


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_every_fault_at_once_and_exit_2(tmp_path: Path, verb: str) -> None:
    folder = Folder(tmp_path, {**WEB, "helth": 1}, {**WEB, "id": "a", "depends_on": ["b"]})
    done = folder.razar(verb)
    assert done.returncode == 2
    assert "/components/0/helth" in done.stderr
    assert "/components/1/depends_on/0" in done.stderr
    assert "Traceback" not in done.stderr
    faults = json.loads(folder.razar(verb, "--json").stdout)["faults"]
    assert [fault["pointer"] for fault in faults] == ["/components/0/helth", "/components/1/depends_on/0"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"mission": 3}', '{"mission": "-x"}', '{"components": []}', "\0"]
)
def test_a_file_that_is_no_mission(tmp_path: Path, text: str) -> None:
    (tmp_path / "boot_config.json").write_text(text)
    done = razar(tmp_path, "check")
    assert done.returncode == 2
    assert "boot_config.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_mission_at_all_and_an_unknown_one(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = razar(tmp_path / "empty", "check")
    assert (done.returncode, "no such file" in done.stderr) == (2, True)
    assert json.loads(razar(tmp_path / "empty", "check", "--json").stdout)["faults"]
    done = folder.razar("check", "--mission", "dmo")
    assert done.returncode == 2
    assert 'did you mean "demo"?' in done.stderr


def test_check_looks_at_a_brief_too(folder: Folder) -> None:
    (folder.path / "brief.json").write_text('{"priority_map": {"web": "high"}}')
    done = folder.razar("check", "--brief", "brief.json", ROUTER_API_KEY="sesame-open")
    assert done.returncode == 2
    assert "/priority_map/web" in done.stderr


@pytest.mark.parametrize(
    ("argv", "title"),
    [
        ((), "boot_config.json"),
        (("boot_config",), "boot_config.json"),
        (("razar_env",), "razar_env.yaml"),
        (("brief",), "mission brief"),
    ],
)
def test_schemas(tmp_path: Path, argv: tuple[str, ...], title: str) -> None:
    schema = json.loads(razar(tmp_path, "schema", *argv).stdout)
    assert schema["title"] == title
    assert schema["$schema"].endswith("2020-12/schema")


def test_an_unknown_schema_is_bad_usage(tmp_path: Path) -> None:
    assert razar(tmp_path, "schema", "everything").returncode == 2
