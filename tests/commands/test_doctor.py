"""``razar doctor``: one row for each thing, and exit 1 only if the mission could not run."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.boot.mission import http_service
from tests.commands.mission import Folder, component, razar, running
from tests.support.ports import free_port

WEB = component("web", "exec sleep 1000")


def rows(folder: Path, *argv: str, **more: str) -> dict[str, dict[str, Any]]:
    """The findings by their check; of several with one name the last."""
    done = razar(folder, "doctor", "--json", *argv, **more)
    found = json.loads(done.stdout)
    assert done.returncode == (1 if any(row["status"] == "fail" for row in found) else 0)
    assert all(row["advice"] for row in found if row["status"] != "ok"), found
    return {row["check"]: row for row in found}


def test_a_sound_folder_has_no_fault_of_its_own(tmp_path: Path) -> None:
    Folder(tmp_path, WEB)
    found = rows(tmp_path)
    for check in (
        "python",
        "kernel",
        "libraries",
        "mission",
        "leftovers",
        "logs folder",
        "configuration",
        "crown",
    ):
        assert found[check]["status"] == "ok", found[check]
    assert found["metrics port"]["found"] == "0"
    assert os.listdir(tmp_path) == ["boot_config.json"]


def test_the_table_says_what_to_do(tmp_path: Path) -> None:
    Folder(tmp_path, {**WEB, "health": "nonsense"})
    done = razar(tmp_path, "doctor")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].split() == ["STATUS", "CHECK", "FOUND"]
    fault = next(line for line in done.stdout.splitlines() if " configuration " in line)
    assert fault.startswith("fail")
    assert "boot_config.json:" in fault
    assert "razar check shows every fault" in fault


def test_a_running_mission_is_told_and_its_ports_are_its_own(shared: Folder) -> None:
    found = rows(shared.path)
    assert shared.process is not None
    assert found["mission"]["found"] == f"running, supervisor pid {shared.process.pid}"
    assert found["state file"]["status"] == "ok"
    assert "ports" not in found
    assert "leftovers" not in found


def test_a_port_of_what_a_killed_supervisor_has_left_is_free_for_the_next_boot(tmp_path: Path) -> None:
    with running(tmp_path, http_service("web", free_port())) as folder:
        folder.kill()
        found = rows(tmp_path)
        assert (found["leftovers"]["status"], found.get("ports")) == ("warn", None)
        assert folder.razar("stop").returncode == 0


def test_taken_ports_are_named_with_their_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, free = taken.getsockname()[1], free_port()
        Folder(tmp_path, {**WEB, "health": f"tcp://127.0.0.1:{port}"})
        found = rows(tmp_path, RAZAR_METRICS_PORT=str(port))
        assert found["ports"]["status"] == "fail"
        assert f"web: port {port} is already in use by pid {os.getpid()}" in found["ports"]["found"]
        assert found["metrics port"]["status"] == "warn"
        Folder(tmp_path, {**WEB, "health": f"tcp://127.0.0.1:{free}"})
        assert rows(tmp_path)["ports"]["status"] == "ok"
    assert rows(tmp_path, RAZAR_METRICS_PORT="many")["metrics port"]["status"] == "warn"


@pytest.mark.parametrize(
    ("url", "policy", "more", "status"),
    [
        ("ws://127.0.0.1:{free}", "required", {}, "fail"),
        ("ws://127.0.0.1:{free}", "optional", {}, "warn"),
        ("ws://127.0.0.1:{taken}", "required", {}, "ok"),
        ("ws://crown.invalid:9000", "optional", {}, "fail"),
        ("ws://crown.invalid:9000", "optional", {"CROWN_ALLOW_PLAINTEXT": "1"}, "warn"),
        ("ws://user:hunter22@crown.invalid:9000", "optional", {}, "fail"),
    ],
)
def test_crown(tmp_path: Path, url: str, policy: str, more: dict[str, str], status: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = url.format(taken=taken.getsockname()[1], free=free_port())
        folder = Folder(tmp_path, WEB)
        config = json.loads((tmp_path / "boot_config.json").read_text())
        (tmp_path / "boot_config.json").write_text(
            json.dumps({**config, "crown": {"url": url, "policy": policy}})
        )
        found = rows(folder.path, **more)
    assert found["crown"]["status"] == status, found["crown"]
    assert "hunter22" not in json.dumps(found["crown"])


def test_the_embedded_crown_needs_nothing(tmp_path: Path) -> None:
    Folder(tmp_path, WEB)
    config = json.loads((tmp_path / "boot_config.json").read_text())
    del config["crown"]
    (tmp_path / "boot_config.json").write_text(json.dumps(config))
    assert rows(tmp_path)["crown"]["found"] == "the embedded one (no URL is set)"


def test_environments_are_compared_with_their_locks(tmp_path: Path) -> None:
    Folder(tmp_path, {**WEB, "layer": "crown"})
    (tmp_path / "razar_env.yaml").write_text(
        'environments:\n  - {layer: crown, python: ">=3.11", dependencies: ["msgspec"]}\n'
    )
    found = rows(tmp_path)
    assert found["uv"]["status"] == "ok"
    assert found["layer crown"]["found"] == "razar_env.lock/crown.txt is not there"
    (tmp_path / "razar_env.lock").mkdir()
    (tmp_path / "razar_env.lock" / "crown.txt").write_text("# inputs sha256:0000\nmsgspec==0.19\n")
    assert rows(tmp_path)["layer crown"]["found"] == "razar_env.lock/crown.txt is older than razar_env.yaml"


def test_a_logs_folder_that_cannot_be_used(tmp_path: Path) -> None:
    Folder(tmp_path, WEB)
    (tmp_path / "logs").write_text("no folder")
    assert rows(tmp_path)["logs folder"]["status"] == "fail"
    (tmp_path / "logs").unlink()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o777)
    found = rows(tmp_path)["logs folder"]
    assert (found["status"], "chmod o-w" in found["advice"]) == ("warn", True)


def test_a_corrupt_state_file_is_told(tmp_path: Path) -> None:
    Folder(tmp_path, WEB)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "razar_state.json").write_text("{")
    assert rows(tmp_path)["state file"]["status"] == "warn"


@pytest.mark.parametrize(
    ("more", "check", "status"),
    [
        ({"OPENCODE_BIN": "/no/such/opencode"}, "opencode", "fail"),
        ({}, "repair agents", "warn"),
        ({"KIMI2_ENDPOINT": "http://x"}, "repair agents", "ok"),
        ({"KIMI2_ENDPOINT": "nonsense"}, "repair agents", "fail"),
        ({"OPENCODE_BIN": "/bin/sh"}, "repair agents", "ok"),
        ({"OPENCODE_BACKEND": "kimi"}, "repair agents", "fail"),
        ({"OPENCODE_BACKEND": "kimi", "KIMI2_ENDPOINT": "http://x"}, "repair agents", "ok"),
        ({"OPENCODE_BACKEND": "hal"}, "repair agents", "fail"),
    ],
)
def test_the_settings_of_repair_agents(tmp_path: Path, more: dict[str, str], check: str, status: str) -> None:
    Folder(tmp_path, WEB)
    assert rows(tmp_path, **more)[check]["status"] == status


def test_no_mission_at_all(tmp_path: Path) -> None:
    found = rows(tmp_path)
    assert found["configuration"]["status"] == "fail"
    assert found["mission"]["found"] == "not running"


def test_a_mission_among_several_is_named(tmp_path: Path) -> None:
    (tmp_path / "missions").mkdir()
    Folder(tmp_path, WEB)
    (tmp_path / "boot_config.json").rename(tmp_path / "missions" / "demo.json")
    assert rows(tmp_path, "--mission", "demo")["configuration"]["status"] == "ok"
    fault = rows(tmp_path, "--mission", "dmo")["configuration"]
    assert fault["status"] == "fail"
    assert 'did you mean "demo"?' in fault["found"]


def test_agents_programs_and_whether_they_are_shut_in(tmp_path: Path) -> None:
    Folder(tmp_path, WEB)
    assert "agents' programs" not in rows(tmp_path)
    environ = {"RAZAR_ACP_COMMAND": "cat", "PATH": str(tmp_path)}
    bare = rows(tmp_path, **environ)["agents' programs"]
    assert (bare["status"], bare["advice"]) == ("warn", "install bubblewrap")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    os.symlink(shutil.which("bwrap") or "", tmp_path / "bwrap")
    os.symlink(shutil.which("true") or "", tmp_path / "true")
    row = rows(tmp_path, **environ)["agents' programs"]
    assert row["found"] in ("shut in by bubblewrap", bare["found"])
