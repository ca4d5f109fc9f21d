"""The boot as a citizen of its terminal: signals, pipes, colours, closed streams."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.boot.checks import healthy_remains, written
from tests.boot.mission import Mission, script, service
from tests.support.waiting import until_sync

Make = Callable[..., Mission]


def shell(one: Mission, line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell in which ``razar`` is the boot."""
    command = f'razar() {{ "{sys.executable}" -m razar.boot_orchestrator --mission demo "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", command],
        cwd=one.folder,
        env=one.environ(**environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_stops_the_mission_as_ctrl_c_does(mission: Make, number: signal.Signals) -> None:
    one = mission(service("a"), service("b")).start()
    one.wait_for_line("INFO Mission demo complete")
    assert one.stop(number) == 0
    stops = [line for line in one.log if line.endswith(": stopped")]
    assert stops == ["INFO b: stopped", "INFO a: stopped"]
    healthy_remains(one)
    one.start()
    until_sync(lambda: one.component("a").get("state") == "running" and one.component("a")["incarnation"])
    one.stop(number)
    healthy_remains(one)


def test_nohup_keeps_the_mission_running(mission: Make) -> None:
    one = mission(service("a"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        one.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    one.wait_for_line("INFO Mission demo complete")
    one.signal(signal.SIGHUP)
    os.kill(one.wait_for_state("a", "running")["pid"], signal.SIGKILL)
    until_sync(lambda: one.component("a").get("incarnation") == 2)
    assert one.stop() == 0


def test_a_detached_boot_outlives_whoever_started_it(mission: Make) -> None:
    one = mission(script("a", "while ! test -e go; do sleep 0.02; done; echo ready; exec sleep 1000"))
    one.start("--detach")
    pid = one.wait_for_state("a", "igniting") and int((one.logs / "razar.lock").read_text().split()[0])
    one.stop(signal.SIGKILL)
    (one.folder / "go").touch()
    one.wait_for_state("a", "running")
    assert any("Mission demo complete" in line for line in one.log)
    os.kill(pid, signal.SIGTERM)
    until_sync(lambda: one.processes() == [])
    assert one.component("a")["state"] == "stopped"
    healthy_remains(one)


def test_signals_reach_a_boot_that_is_being_detached(mission: Make) -> None:
    one = mission(script("a", "exec sleep 1000")).start("--detach")
    one.wait_for_state("a", "igniting")
    assert one.stop(signal.SIGINT) == 130
    healthy_remains(one)


def test_a_boot_that_is_killed_while_it_is_being_detached_is_told(mission: Make) -> None:
    one = mission(script("a", "exec sleep 1000")).start("--detach")
    one.wait_for_state("a", "igniting")
    os.kill(int((one.logs / "razar.lock").read_text().split()[0]), signal.SIGKILL)
    assert one.wait() == 128 + signal.SIGKILL
    stopped = shell(one, f'"{sys.executable}" -m razar stop')
    assert stopped.returncode == 0, stopped.stderr
    healthy_remains(one)


def test_output_into_a_pipe_that_is_closed(mission: Make) -> None:
    one = mission(*(service(f"c{number}") for number in range(8)))
    done = shell(one, "razar --exit-after-boot | head -1; echo ${PIPESTATUS[0]}")
    assert done.stdout == "Booting component c0\n0\n" and "Traceback" not in done.stderr
    assert one.log[-1].startswith("INFO Mission demo stopped")
    done = shell(one, "razar --plan | true; razar --check | true; razar --plan --json | true")
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    healthy_remains(one)


def test_streams_that_are_closed(mission: Make) -> None:
    one = mission(service("a"))
    assert shell(one, "razar --exit-after-boot <&- >&- 2>&-").returncode == 0
    assert shell(one, "razar --retries x <&- >&- 2>&-").returncode == 2
    assert shell(one, "razar --detach <&- >&- 2>&-").returncode == 0
    one.wait_for_state("a", "running")
    assert one.log.count("INFO Mission demo complete") == 2
    assert shell(one, "razar --config nowhere.json <&- >&- 2>&-").returncode == 2
    os.kill(int((one.logs / "razar.lock").read_text().split()[0]), signal.SIGTERM)
    until_sync(lambda: one.processes() == [])
    healthy_remains(one)


def test_a_full_output_does_not_stop_the_mission(mission: Make) -> None:
    one = mission(service("a"))
    assert shell(one, "razar --exit-after-boot >/dev/full").returncode == 0
    assert shell(one, "razar --exit-after-boot >/dev/full 2>&1").returncode == 0
    assert one.log.count("INFO Mission demo complete") == 2
    healthy_remains(one)


def test_quiet_says_only_what_failed_and_verbose_says_more(mission: Make) -> None:
    one = mission(service("a"))
    assert one.boot("-q") == 0 and one.out == ""
    assert one.boot("-v") == 0
    verbose = one.out
    assert one.boot() == 0
    assert set(one.out.splitlines()) < set(verbose.splitlines()) or len(verbose) > len(one.out)
    one = mission(script("a", "exit 1", retries=0))
    assert one.boot("-q") == 1
    assert "a is quarantined" in one.err and one.out == ""
    assert one.start("-q", "-v").wait() == 2


@pytest.mark.parametrize("environ", [{"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_on_a_terminal(mission: Make, environ: dict[str, str]) -> None:
    one = mission(service("a"))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "demo"],
        cwd=one.folder,
        env=one.environ(**environ),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    one.process = process
    one.wait_for_line("INFO Mission demo complete")
    one.wait_for_state("a", "running")
    one.signal(signal.SIGINT)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # EIO: the other end is closed.
        pass
    assert process.wait(60) == 0
    os.close(master)
    text = shown.decode()
    assert "demo" in text and "complete" in text and "Traceback" not in text
    colours = [code for code in ("\x1b[31m", "\x1b[32m", "\x1b[1;32m", "\x1b[33m") if code in text]
    assert environ == {"TERM": "xterm"} or not colours
    healthy_remains(one)


def test_a_terminal_that_goes_away_stops_the_mission(mission: Make) -> None:
    one = mission(service("a"))
    master, slave = pty.openpty()
    # The session leader of the terminal gets SIGHUP when the other end is closed.
    claim = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", claim, sys.executable, "-m", "razar.boot_orchestrator", "--mission", "demo"],
        cwd=one.folder,
        env=one.environ(TERM="xterm"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    one.process = process
    one.wait_for_line("INFO Mission demo complete")
    os.close(master)
    assert process.wait(60) == 0
    assert one.component("a")["state"] == "stopped"
    healthy_remains(one)


def test_json_lines_are_whole_and_alone_on_stdout(mission: Make) -> None:
    one = mission(service("a"), script("b", "exit 1", retries=0))
    assert one.boot("--json") == 1
    facts = [json.loads(line) for line in one.out.splitlines()]
    assert {fact["fact"] for fact in facts} >= {"Transition", "MissionSettled", "MissionStopped"}
    assert all(b"\x1b[" not in data for data in written(one).values())
