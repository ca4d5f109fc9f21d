"""Programs are looked up before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import component, load, load_one, only_fault


def program(path: Path, mode: int = 0o755) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)


@pytest.mark.parametrize("name", ["python", "python3", "sh", "/bin/sh"])
def test_programs_that_are_there(tmp_path: Path, name: str) -> None:
    assert load_one(tmp_path, entrypoint=[name, "x"]).argv == (name, "x")


def test_a_path_is_relative_to_cwd(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    program(tmp_path / "work" / "run")
    assert load_one(tmp_path, entrypoint="./run", cwd="work").argv == ("./run",)
    assert "not there" in only_fault(lambda: load_one(tmp_path, entrypoint="./run")).found


def test_programs_that_cannot_be_run(tmp_path: Path) -> None:
    program(tmp_path / "plain", 0o644)
    (tmp_path / "folder").mkdir()
    fault = only_fault(lambda: load_one(tmp_path, entrypoint="./plain --x"))
    assert "not executable" in fault.found
    assert "chmod +x" in (fault.hint or "")
    assert "the folder" in only_fault(lambda: load_one(tmp_path, entrypoint="./folder")).found
    assert "not on PATH" in only_fault(lambda: load_one(tmp_path, entrypoint="no-such-thing")).found
    assert "not on PATH" in only_fault(lambda: load_one(tmp_path, health="cmd: no-such-thing")).found


def test_a_variable_in_front_is_explained_without_its_value(tmp_path: Path) -> None:
    fault = only_fault(lambda: load_one(tmp_path, entrypoint="TOKEN=hunter2 python app.py"))
    assert "TOKEN" in fault.found
    assert fault.hint == "variables are set in env"
    assert "hunter2" not in str(fault)


def test_the_path_of_the_component_counts(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "ours")
    ours = component(entrypoint="ours", env={"PATH": f"{tmp_path}/bin"})
    assert load(tmp_path, ours).components[0].argv == ("ours",)
    assert "not on PATH" in only_fault(lambda: load(tmp_path, component(entrypoint="ours"))).found


def test_an_environment_yet_to_be_built_may_bring_the_program(tmp_path: Path) -> None:
    uvicorn = component(entrypoint="uvicorn-x app", layer="web", health="cmd: uvicorn-y")
    assert load(tmp_path, uvicorn, layers=("web",)).components[0].argv[0] == "uvicorn-x"
    assert load(tmp_path, uvicorn, layers=None).components[0].argv[0] == "uvicorn-x"
    missing = component(entrypoint="./uvicorn-x", layer="web")
    assert "not there" in only_fault(lambda: load(tmp_path, missing, layers=("web",))).found


def test_the_model_launcher_must_be_there(tmp_path: Path) -> None:
    fault = only_fault(lambda: load(tmp_path, crown={"model_launcher": "scripts/x.sh"}))
    assert fault.pointer == "/crown/model_launcher"
