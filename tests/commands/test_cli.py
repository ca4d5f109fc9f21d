"""The ``razar`` command itself: what it imports, how it is misused, where its colours go."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from razar import __version__
from razar.cli import VERBS
from tests.commands.mission import COMPONENTS, REPOSITORY, Folder, environment, razar

HEAVY = (
    "asyncio",
    "msgspec",
    "yaml",
    "websockets",
    "ssl",
    "http.client",
    "prometheus_client",
    "rich",
    "logging",
)
IMPORTED = f"""
import sys
from razar.cli import main
code = main(sys.argv[1:])
print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)
print(sorted(name for name in sys.modules if name.startswith("razar.commands.")), file=sys.stderr)
"""


def imported(folder: Path, *argv: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *argv],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stderr.splitlines()


def test_help_and_status_import_nothing_heavy_and_only_their_own_verb(shared: Folder) -> None:
    assert imported(shared.path, "--help") == ["[] 0", "[]"]
    assert imported(shared.path, "status") == ["[] 0", "['razar.commands.status']"]
    assert imported(shared.path, "restart", "web", "--help") == ["[] 0", "['razar.commands.restart']"]


def test_every_verb_is_listed_has_help_and_takes_the_shared_options(tmp_path: Path) -> None:
    listing = razar(tmp_path, "--help").stdout
    for verb in VERBS:
        assert f"  {verb} " in listing
        done = razar(tmp_path, verb, "--help")
        assert (done.returncode, done.stderr) == (0, ""), verb
        for option in ("--logs DIR", "--config FILE", "--json"):
            assert option in done.stdout or verb == "quarantine", (verb, option)


def test_there_is_a_module_for_every_verb_and_no_other() -> None:
    modules = {path.stem for path in (REPOSITORY / "razar" / "commands").glob("*.py")} - {"__init__"}
    assert modules == set(VERBS)


def test_version_and_no_arguments(tmp_path: Path) -> None:
    assert razar(tmp_path, "--version").stdout == f"razar {__version__}\n"
    bare = razar(tmp_path)
    assert (bare.returncode, "commands (razar COMMAND --help says more)" in bare.stdout) == (0, True)


@pytest.mark.parametrize(
    "argv",
    [
        ("statsu",),
        ("--explode", "status"),
        ("status", "--explode"),
        ("--logs",),
        ("--json",),
        ("--log", "x", "status"),
        ("",),
        ("boot",),
        ("boot", "--mission", "x", "--explode"),
        ("boot", "--mission", "nowhere"),
    ],
)
def test_bad_usage_is_exit_2_without_a_traceback(tmp_path: Path, argv: tuple[str, ...]) -> None:
    done = razar(tmp_path, *argv)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "argv",
    [("razar", "status"), ("razar", "boot", "--mission", "x"), ("razar.boot_orchestrator", "--mission", "x")],
)
def test_a_folder_that_was_removed_is_told(tmp_path: Path, argv: tuple[str, ...]) -> None:
    """A shell may stand in a folder that somebody has deleted."""
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", sys.executable, "-m", *argv],
        cwd=gone,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "razar: the current folder has been removed; change to one that is there\n"


def test_among_several_missions_one_must_be_named(tmp_path: Path) -> None:
    """That none runs in ``logs`` must not be taken for: none runs."""
    (tmp_path / "missions" / "logs" / "alpha").mkdir(parents=True)
    (tmp_path / "missions" / "alpha.json").write_text("{}")
    done = razar(tmp_path, "stop")
    assert (done.returncode, done.stdout) == (0, "no mission runs with the logs folder missions/logs/alpha\n")
    (tmp_path / "missions" / "beta.json").write_text("{}")
    for verb in ("status", "stop", "logs", "events", "timeline"):
        done = razar(tmp_path, verb)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--config missions/alpha.json, --config missions/beta.json" in done.stderr
    done = razar(tmp_path, "status", "--config", "missions/beta.json")
    assert (done.returncode, "missions/logs/beta" in done.stderr) == (3, True)
    (tmp_path / "boot_config.json").write_text("{}")
    assert razar(tmp_path, "status").returncode == 3


def test_a_misspelt_verb_gets_the_nearest(tmp_path: Path) -> None:
    assert "there is no command 'statsu'; did you mean status?" in razar(tmp_path, "statsu").stderr


def test_shared_options_may_stand_on_either_side_of_the_verb(shared: Folder, tmp_path: Path) -> None:
    for argv in (
        ("--logs", str(shared.logs), "--json", "status"),
        (f"--logs={shared.logs}", "status", "--json"),
        ("status", "--json", "--logs", str(shared.logs)),
        ("--json", "status", "--config", str(shared.path / "boot_config.json")),
    ):
        assert json.loads(razar(tmp_path, *argv).stdout)["running"] is True, argv


def test_boot_is_the_boots_own_command_line(tmp_path: Path) -> None:
    Folder(tmp_path)
    done = razar(tmp_path, "--config", "boot_config.json", "boot", "--mission", "demo", "--check")
    assert (done.returncode, "no faults" in done.stdout) == (0, True)
    done = razar(tmp_path, "boot", "--mission", "demo", "--exit-after-boot", "--logs", "elsewhere")
    assert done.returncode == 0
    assert "Mission demo complete" in done.stdout
    assert (tmp_path / "elsewhere" / "razar_state.json").exists()


def on_a_terminal(folder: Path, *argv: str, **more: str) -> str:
    """Run ``razar`` with a terminal for its output, and return that."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "razar", *argv],
        cwd=folder,
        env=environment(TERM="xterm", **more),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # The other end of a terminal was closed (EIO).
    finally:
        os.close(ours)
    assert process.wait(20) == 0
    return shown.decode()


def test_colours_are_for_terminals_only_and_can_be_refused(shared: Folder) -> None:
    assert "\x1b[32mrunning" in on_a_terminal(shared.path, "status")
    assert "\x1b" not in on_a_terminal(shared.path, "status", NO_COLOR="1")
    assert "\x1b" not in shared.razar("status", TERM="xterm").stdout


def test_on_a_terminal_a_table_is_cut_at_the_edge(shared: Folder) -> None:
    shown = on_a_terminal(shared.path, "quarantine", "list", NO_COLOR="1").splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[1].endswith("…")
    assert "…" not in shared.razar("quarantine", "list").stdout


def test_names_in_the_output_cannot_move_the_cursor(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    entry = {"id": "web", "layer": "core", "state": "running", "error": "\x1b[2Jgone\r\n\u202e"}
    snapshot = {"mission": "de\x1b]0;mo\x07", "components": [entry], "events": []}
    (tmp_path / "logs" / "razar_state.json").write_text(json.dumps(snapshot))
    shown = razar(tmp_path, "status").stdout
    assert "gone" in shown
    assert not any(character in shown for character in "\x1b\r\x07\u202e")


def test_a_reader_that_has_seen_enough_of_a_table(shared: Folder) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "razar", "status"],
        cwd=shared.path,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_behind_the_output_is_an_error_in_words(shared: Folder) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "razar", "status"],
            cwd=shared.path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert done.returncode == 1
    assert done.stderr == "razar: cannot write the output: No space left on device\n"


def test_output_that_is_closed_is_no_traceback(shared: Folder) -> None:
    argv = ["sh", "-c", f"exec {sys.executable} -m razar status >&-"]
    done = subprocess.run(
        argv, cwd=shared.path, env=environment(), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_the_output_cannot_show_is_escaped(own: Folder, encoding: str) -> None:
    odd = "l\udcff…"
    assert own.razar("stop").returncode == 0
    (own.path / odd).mkdir()
    for path in own.logs.iterdir():
        if path.is_file():
            (own.path / odd / path.name).write_bytes(path.read_bytes())
    shown = ""
    for verb in (("doctor",), ("timeline",), ("status", "web"), ("stop",)):
        done = own.razar(*verb, "--logs", odd, PYTHONIOENCODING=f"{encoding}:strict")
        assert "Traceback" not in done.stderr and done.returncode in (0, 3), (verb, done.stderr)
        shown += done.stdout
    assert ("\\u2026" if encoding == "ascii" else "…") in shown


def test_json_stays_json_where_the_output_has_not_every_character(tmp_path: Path) -> None:
    Folder(tmp_path, {**COMPONENTS[0], "entrypoint": ["echo", "é\U0001f680"]})
    plan = razar(tmp_path, "plan", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(plan.stdout) == json.loads(razar(tmp_path, "plan", "--json").stdout)
