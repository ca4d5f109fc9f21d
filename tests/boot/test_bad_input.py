"""Bad files: each gets a clear error, nothing is started, nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.boot.checks import healthy_remains, holding
from tests.boot.mission import REPOSITORY, Mission, http_service, service
from tests.environments.packages import make_wheel
from tests.support.ports import free_port

Make = Callable[..., Mission]

SMALL = (
    '{"mission": "demo", "components": [{"id": "a", "layer": "core", "entrypoint": "true", "health": %s}]}'
)


def refused(one: Mission, *words: str, options: tuple[str, ...] = (), **environ: str) -> None:
    """The boot ends with 2, says these words in at most a screen, and leaves nothing."""
    before = {path for path in one.folder.rglob("*") if path.name not in ("stdout", "stderr")}
    assert one.boot(*options, **environ) == 2, one.err
    for word in words:
        assert word in one.err, one.err
    assert len(one.err) < 4000 and "nothing was started" in one.err
    assert {path for path in one.folder.rglob("*") if path.name not in ("stdout", "stderr")} == before
    healthy_remains(one)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["an empty file"]),
        (b'{"mission": "demo", "components": [{"id"', ["boot_config.json:1:", "the end of the file"]),
        (b"\xff\xfe\x00", ["boot_config.json:1:1"]),
        (b"[" * 200_000, ["nested"]),
        (b"[]", ["an object"]),
        ((SMALL % '"exit", "kind": 7').encode(), ["/components/0/kind", "7"]),
        ((SMALL % '"exit", "colour": "red"').encode(), ["/components/0/colour"]),
        ((SMALL % '"htp://localhost/"').encode(), ["/components/0/health", "htp://localhost/"]),
        (b'{"mission": "demo", "components": []}', ["/components"]),
        (b'{"mission": "demo", "mission": "demo", "components": []}', ["/mission", "the same key again"]),
    ],
    ids="empty truncated binary nested array type key probe none twice".split(),
)
def test_a_configuration_that_cannot_be_used(mission: Make, data: bytes, words: list[str]) -> None:
    one = mission(service("a"))
    (one.folder / "boot_config.json").write_bytes(data)
    refused(one, *words)


def test_a_configuration_of_100_megabytes_is_refused_unread(mission: Make) -> None:
    one = mission(service("a"))
    with (one.folder / "boot_config.json").open("r+b") as file:
        file.truncate(100 << 20)
    refused(one, "boot_config.json", "more than 8388608 bytes")


def test_what_is_no_file_does_not_hang_the_boot(mission: Make) -> None:
    one = mission(service("a"))
    path = one.folder / "boot_config.json"
    path.unlink()
    refused(one, "boot_config.json")
    path.mkdir()
    refused(one, "boot_config.json")
    path.rmdir()
    os.mkfifo(path)
    refused(one, "boot_config.json")
    path.unlink()
    refused(one, "/dev/zero", options=("--config", "/dev/zero"))


def test_faults_of_all_kinds_and_files_are_told_at_once(mission: Make) -> None:
    one = mission(
        service("a", depends_on=["b"]),
        service("b", depends_on=["a"]),
        service("b"),
        service("../../etc/passwd"),
        service("c", depends_on=["aa"]),
        {**service("d"), "entrypoint": "./no/such/program --now"},
        {**service("e"), "entrypoint": "./boot_config.json"},
        service("f", env={"A": "${NO_SUCH_VARIABLE}"}),
        service("g", env_file="no.env"),
        ignition="all",
    )
    (one.folder / "razar_env.yaml").write_text(
        "environments:\n  - {layer: core, python: 3.10, dependencies: x}"
    )
    refused(
        one,
        "/ignition",
        "cycle",
        '"b"',
        "../../etc/passwd",
        'did you mean "a"',
        "/components/5/entrypoint",
        "which is not there",
        "/components/6/entrypoint",
        "not executable",
        "NO_SUCH_VARIABLE",
        "no.env",
        "razar_env.yaml:2:",
        "/environments/0/dependencies",
    )
    assert one.start("--check", "--json").wait() == 2
    told = json.loads(one.out)
    assert {os.path.basename(fault["file"]) for fault in told["faults"]} == {
        "boot_config.json",
        "razar_env.yaml",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("environments: !!python/object/apply:os.system ['touch owned']", ["tag"]),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\nenvironments: []", ["anchor"]),
        ("environments: {core: 1}", ["/environments", "a list"]),
        ("environments:\n  - {layer: core, python: '3.11', dependencies: [], extra: 1}", ["extra"]),
        ("environments:\n\t- x", ["razar_env.yaml:2"]),
        ("environments:\n  - {layer: ../x, python: '3.11', dependencies: []}", ["../x"]),
    ],
    ids="tag anchors type key tab path".split(),
)
def test_an_environment_file_that_cannot_be_used(mission: Make, text: str, words: list[str]) -> None:
    one = mission(service("a"))
    (one.folder / "razar_env.yaml").write_text(text)
    refused(one, "razar_env.yaml", *words)
    assert not (one.folder / "owned").exists()


def test_files_that_were_asked_for_and_are_not_there(mission: Make) -> None:
    one = mission(service("a"))
    refused(one, "no.yaml", options=("--environments", "no.yaml"))
    refused(one, "no.json", options=("--brief", "no.json"))
    refused(one, "no.json", options=("--config", "no.json"))
    (one.folder / "brief.json").write_text('{"priority_map": {"aa": 1}}')
    refused(one, "/priority_map/aa", 'did you mean "a"', options=("--brief", "brief.json"))


def test_a_mission_that_is_not_there_is_answered_with_those_that_are(mission: Make, tmp_path: Path) -> None:
    one = mission(service("a"))
    (tmp_path / "missions").mkdir()
    (tmp_path / "missions" / "night.json").write_text(SMALL % '"exit"')
    (tmp_path / "boot_config.json").write_text((SMALL % '"exit"').replace("demo", "day"))
    assert one.boot() == 2
    assert "day" in one.err and "night" in one.err
    healthy_remains(one)


def test_a_mission_in_the_folder_of_missions(mission: Make, tmp_path: Path) -> None:
    one = mission(service("a"))
    (tmp_path / "missions").mkdir()
    (tmp_path / "boot_config.json").rename(tmp_path / "missions" / "demo.json")
    assert one.boot() == 0
    assert (
        json.loads((tmp_path / "missions" / "logs" / "demo" / "razar_state.json").read_text())["mission"]
        == "demo"
    )
    assert one.processes() == []


@pytest.mark.parametrize("text", ["#!/no/such/interpreter\n", "\x7fELF this is no program", ""])
def test_a_program_that_cannot_be_executed_fails_its_component_alone(mission: Make, text: str) -> None:
    one = mission({**service("a", retries=0), "entrypoint": ["./program"]}, service("b"))
    (one.folder / "program").write_text(text)
    (one.folder / "program").chmod(0o755)
    assert one.boot() == 1
    assert "a is quarantined" in one.err and "program" in "\n".join(one.log)
    assert "INFO Health check passed for b" in one.log
    healthy_remains(one)


def test_a_password_in_a_url_is_told_nowhere(mission: Make) -> None:
    port, password = free_port(), "hunter2-correct-horse"
    secret = f"http://operator:{password}@127.0.0.1:{port}/healthz"
    one = mission(
        http_service("a", port, health={"http": secret, "deadline": "30s"}),
        service(
            "b", retries=0, health={"http": secret.replace(str(port), str(free_port())), "deadline": "50ms"}
        ),
        service("c", env={"DATABASE_URL": f"postgres://u:{password}@db/x", "API_TOKEN": password}),
        crown={
            "policy": "optional",
            "url": f"ws://operator:{password}@127.0.0.1:{free_port()}",
            "timeout": 1,
        },
    )
    for options in (("--check",), ("--plan",), ("--plan", "--json"), ("--json", "-v"), ("-v",)):
        boot = () if options[0] in ("--check", "--plan") else ("--exit-after-boot",)
        assert one.start(*options, *boot).wait() == (1 if boot else 0)
        assert holding(one, password) == []
        healthy_remains(one)
    assert one.component("a")["state"] == "stopped" and one.component("b")["state"] == "quarantined"
    # And in what is told of a configuration that is wrong because of it.
    wrong = {**service("a"), "health": secret.replace(str(port), "99999")}
    two = mission(wrong, crown={"url": f"ws://operator:{password}@127.0.0.1:x"})
    refused(two, "/components/0/health", "/crown/url")
    assert holding(two, password) == []


def _layers(one: Mission, tmp_path: Path, *dependencies: str) -> dict[str, str]:
    """Give the layer these dependencies, from a folder of wheels and nowhere else."""
    wheels = tmp_path / "wheels"
    wheels.mkdir(exist_ok=True)
    make_wheel(wheels, "alpha")
    text = "environments:\n" + "".join(
        f"  - {{layer: {layer}, python: '>=3.11', dependencies: {json.dumps(list(wanted))}}}\n"
        for layer, wanted in (("core", dependencies), ("unused", ["nobody-needs-this"]))
    )
    (one.folder / "razar_env.yaml").write_text(text)
    return {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(tmp_path / "cache")}


def test_a_layer_that_cannot_be_resolved_ends_the_boot_with_4(mission: Make, tmp_path: Path) -> None:
    one = mission(service("a"))
    environ = _layers(one, tmp_path, "alpha", "no-such-thing>=7")
    assert one.boot(**environ) == 4
    [told] = [line for line in one.err.splitlines() if "core" in line]
    assert "no-such-thing" in told and "Booting component a" not in one.out
    assert one.component("a").get("state", "pending") in ("pending", "stopped")
    assert any(line.startswith("ERROR Mission demo failed: layer core: ") for line in one.log)
    healthy_remains(one)


def test_a_component_runs_in_the_environment_of_its_layer(mission: Make, tmp_path: Path) -> None:
    text = "import sys, shutil, alpha; print('ready', sys.prefix, shutil.which('alpha-tool'), alpha.VALUE)"
    body: dict[str, Any] = {"layer": "core", "health": "log: ready"}
    one = mission(
        {"id": "a", "entrypoint": ["python", "-c", text + "; import time; time.sleep(1000)"], **body},
        {"id": "b", "entrypoint": ["alpha-tool"], "kind": "task", **body, "health": "exit"},
    )
    environ = _layers(one, tmp_path, "alpha")
    make_wheel(
        tmp_path / "wheels", "alpha", script="alpha-tool", source="VALUE = 1\ndef main(): print('tool ran')"
    )
    assert one.boot(**environ) == 0, one.log
    _, prefix, tool, value = (one.logs / "components/a/current.log").read_text().split()[-4:]
    assert prefix.startswith(str(one.folder / ".razar" / "environments" / "core")) and value == "1"
    assert tool == f"{prefix}/bin/alpha-tool"
    assert "tool ran" in (one.logs / "components/b/current.log").read_text()
    assert any("Environment core built in" in line for line in one.log)
    # Again, without a network and without a resolver: nothing is built.
    assert one.boot("--offline", "--locked") == 0
    assert sum("Environment core built in" in line for line in one.log) == 1
    # A file changed in the installed environment is noticed, named, and the layer rebuilt.
    [module] = Path(prefix).glob("lib/python*/site-packages/alpha/__init__.py")
    module.write_text("VALUE = 2\ndef main(): print('changed')")
    assert one.boot(**environ) == 0
    assert any(line.startswith("WARN") and "alpha/__init__.py" in line for line in one.log)
    assert (one.logs / "components/a/current.log").read_text().split()[-1] == "1"
    healthy_remains(one)


def test_the_tree_of_razar_stays_as_it_was(mission: Make) -> None:
    # What is compiled is written by whoever imports it first, under a name that it has for an instant only.
    before = {
        path: path.stat().st_mtime_ns
        for path in (REPOSITORY / "razar").rglob("*.*")
        if path.parent.name != "__pycache__"
    }
    assert mission(service("a")).boot() == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
