"""``python -m razar.issue_analyzer`` on real logs."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from razar.issue_analyzer import analyse, main
from razar.projections.boot_log import BootLog

from .support import Story, component

ENVIRONMENTS = """\
# The environments of the demo.
environments:
  - layer: core        # standard library only
    python: ">=3.11"
    dependencies: []

  - layer: web
    python: "3.11"
    dependencies:
      - uvicorn>=0.30   # keep in step with the proxy
      - "starlette"
"""
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "/srv/app.py", line 1, in <module>',
    "    import yaml",
    "ModuleNotFoundError: No module named 'yaml'",
)


@pytest.fixture
def mission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir("/")
    (tmp_path / "razar_env.yaml").write_text(ENVIRONMENTS)
    (tmp_path / "razar_env.yaml").chmod(0o604)
    config = {
        "mission": "demo",
        "components": [{"id": "complex_service", "layer": "web"}, {"id": "basic_service", "layer": "core"}],
    }
    (tmp_path / "boot_config.json").write_text(json.dumps(config))
    (tmp_path / "logs").mkdir()
    return tmp_path


def _boot_log(mission: Path) -> Path:
    """One component lacks a package, one a port, and one dies of unknown causes."""
    story = Story(
        component("complex_service", retries=1),
        component("basic_service", retries=0),
        component("mystery", retries=0),
    )
    story.begin().spawn("complex_service").exit("complex_service", 1, TRACEBACK)
    story.timer("complex_service", "backoff", 1.0).spawn("complex_service").exit(
        "complex_service", 1, TRACEBACK
    )
    story.spawn("basic_service").exit(
        "basic_service", 1, ("OSError: [Errno 98] Address already in use (port 47)",)
    )
    story.spawn("mystery").exit("mystery", 9, ("INFO all is well",))
    path = mission / "logs" / "boot_orchestrator.log"
    log = BootLog(str(path), "demo")
    story.tell(log)
    log.close()
    return path


def test_the_boot_log_gives_one_line_per_finding(mission: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _boot_log(mission)
    assert main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    yaml, port, mystery = lines
    number = 1 + path.read_text().splitlines().index("    | " + TRACEBACK[-1])
    assert yaml == (
        f"{number}: dependency: complex_service: ModuleNotFoundError: No module named 'yaml' (2 times) -> "
        "Install missing packages or verify the environment. "
        "Add PyYAML to the layer of complex_service in razar_env.yaml."
    )
    assert ": port: basic_service: " in port and "Nobody holds 47 now." in port
    assert ": unknown: mystery: exited with code 9 before it was healthy -> " in mystery


def test_json_has_the_same_findings(mission: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(_boot_log(mission)), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(f["class"], f["component"], f["count"]) for f in document["findings"]] == [
        ("dependency", "complex_service", 2),
        ("port", "basic_service", 1),
        ("unknown", "mystery", 1),
    ]
    assert document["findings"][0]["package"] == "PyYAML" and document["fixes"] == []


def test_a_components_own_log_names_the_component(mission: Path) -> None:
    path = mission / "logs" / "components" / "basic_service" / "current.log"
    path.parent.mkdir(parents=True)
    path.write_text("starting\nINFO connection refused, retrying\n" + "\n".join(TRACEBACK) + "\n")
    (finding,) = analyse(str(path))
    assert (finding.component, finding.issue.name, finding.line) == ("basic_service", "dependency", 6)


def test_the_holder_of_a_port_is_named(mission: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mission / "app.log"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path.write_text(f"fatal: port {port} is already in use\n")
        assert main([str(path)]) == 0
    assert f"Port {port} is held by pid " in capsys.readouterr().out


def test_a_log_without_findings(mission: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mission / "app.log"
    path.write_text("INFO all is well\n")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == "no findings\n"


@pytest.mark.parametrize("what", ["missing", "folder", "device"])
def test_a_file_that_cannot_be_read_is_exit_2(
    mission: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = {"missing": str(mission / "none.log"), "folder": str(mission), "device": "/dev/zero"}[what]
    assert main([path]) == 2
    assert capsys.readouterr().err.startswith(f"{path} cannot be read: ")


def test_binary_garbage_and_endless_lines_are_survived(mission: Path) -> None:
    path = mission / "app.log"
    with path.open("wb") as file:
        file.write(bytes(range(256)) * 4000 + b"\n")
        file.write(b"x" * 20_000_000 + b" No module named 'late'\n")
        file.write(b"\xff\xfeZeroDivisionError: division by zero\r\n")
    assert [finding.issue.name for finding in analyse(str(path))] == ["logic"]


def test_a_flood_of_different_findings_is_bounded(mission: Path) -> None:
    path = mission / "app.log"
    path.write_text("".join(f"ValueError: number {number}\n" for number in range(5000)))
    assert len(analyse(str(path))) == 1000


def test_apply_adds_the_package_to_the_right_layer_shows_the_diff_and_keeps_a_backup(
    mission: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(_boot_log(mission)), "--apply"]) == 0
    out = capsys.readouterr().out
    changed = (mission / "razar_env.yaml").read_text()
    assert changed == ENVIRONMENTS + "      - PyYAML\n"
    assert '       - "starlette"\n+      - PyYAML\n' in out
    assert out.index("+      - PyYAML") < out.index("PyYAML: added to layer web; backup: ")
    (backup,) = mission.glob("razar_env.yaml.bak-*")
    assert backup.read_text() == ENVIRONMENTS
    assert (mission / "razar_env.yaml").stat().st_mode & 0o777 == 0o604


def test_apply_a_second_time_changes_nothing(mission: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _boot_log(mission)
    main([str(path), "--apply"])
    changed = (mission / "razar_env.yaml").read_bytes()
    assert main([str(path), "--apply"]) == 0
    assert "PyYAML is already listed in layer web" in capsys.readouterr().out
    assert (mission / "razar_env.yaml").read_bytes() == changed
    assert len(list(mission.glob("razar_env.yaml.bak-*"))) == 1


def test_a_package_that_only_the_log_knows_is_not_added(
    mission: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mission / "logs" / "components" / "basic_service" / "current.log"
    path.parent.mkdir(parents=True)
    path.write_text("GET /?q=\nModuleNotFoundError: No module named 'evil_package'\n")
    assert main([str(path), "--apply", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (fix,) = document["fixes"]
    assert "Add what provides evil_package to the layer of" in document["findings"][0]["suggestion"]
    assert fix["applied"] is False and "by hand" in fix["reason"]
    assert (mission / "razar_env.yaml").read_text() == ENVIRONMENTS


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: (root / "boot_config.json").write_text("{"), "no configuration in"),
        (lambda root: (root / "razar_env.yaml").write_text("environments: [{"), "no valid YAML"),
        (lambda root: (root / "razar_env.yaml").write_text("environments: []\n"), "there is no layer web"),
        (lambda root: (root / "razar_env.yaml").unlink(), "no razar_env.yaml was found"),
        (lambda root: (root / "razar_env.yaml").write_bytes(b"\xff"), "is not UTF-8"),
        (lambda root: (root / "razar_env.yaml").write_bytes(b"#" * 2_000_000), "is longer than"),
    ],
)
def test_what_cannot_be_applied_says_why(
    mission: Path, spoil: object, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _boot_log(mission)
    spoil(mission)  # type: ignore[operator]
    assert main([str(path), "--apply"]) == 0
    assert reason in capsys.readouterr().out
    assert not list(mission.glob("*.bak-*"))
