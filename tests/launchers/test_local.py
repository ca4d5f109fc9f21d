"""The local launcher: one process, started, observed, stopped."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from razar.engine.events import Exited
from razar.launchers import procfs
from razar.launchers.base import LaunchError
from razar.launchers.local import LocalLauncher
from tests.support.components import Events, alive, launch_spec, read_pid, sh
from tests.support.descriptors import none_left_open
from tests.support.waiting import until


async def test_exit_code_and_last_lines_are_reported(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(
        launch_spec(tmp_path, sh("for n in $(seq 30); do echo line $n; done; echo oops >&2; exit 3"))
    )
    exited = await events.exited()
    assert (exited.code, exited.signal) == (3, None)
    assert exited.tail == (*(f"line {n}" for n in range(12, 31)), "oops")


async def test_signal_is_reported_by_name(launcher: LocalLauncher, events: Events, tmp_path: Path) -> None:
    started = launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    os.kill(started.pid, signal.SIGSEGV)
    exited = await events.exited()
    assert (exited.code, exited.signal) == (None, "SEGV")


async def test_identity_is_pid_and_start_time(launcher: LocalLauncher, tmp_path: Path) -> None:
    started = launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    entry = procfs.stat(started.pid)
    assert entry is not None
    assert (entry.start_time, entry.session, entry.pgrp) == (started.start_time, started.pid, started.pid)
    assert started.start_time > 0


async def test_gets_its_own_surroundings(launcher: LocalLauncher, events: Events, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    script = "pwd; echo $COLOUR; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l"
    launcher.ignite(launch_spec(tmp_path, sh(script), cwd=str(folder), env={"COLOUR": "blue"}))
    exited = await events.exited()
    # ls has stdin, stdout, stderr and the folder it lists: nothing of ours.
    assert exited.tail == (str(folder), "blue", "/dev/null", "4")


async def test_log_is_appended_with_narrow_permissions(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        first = launcher.ignite(launch_spec(tmp_path, sh("echo one")))
    finally:
        os.umask(before)
    await events.exited()
    second = launcher.ignite(launch_spec(tmp_path, sh("echo two"), incarnation=2))
    exited = await events.exited(2)
    log = tmp_path / "logs" / "components" / "crown_router" / "current.log"
    assert log.read_text() == "one\ntwo\n"
    assert (first.log_offset, second.log_offset) == (0, 4)
    assert exited.tail == ("two",)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert {stat.S_IMODE(parent.stat().st_mode) for parent in list(log.parents)[:3]} == {0o750}


async def test_exited_is_sent_once_per_incarnation(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    for _ in range(3):
        launcher.signal("crown_router", 1, "TERM")
        launcher.kill("crown_router", 1)
    await events.exited()
    launcher.kill("crown_router", 1)
    launcher.ignite(launch_spec(tmp_path, ("true",), incarnation=2))
    await events.exited(2)
    assert [(event.incarnation) for event in events.of(Exited)] == [1, 2]


async def test_signal_for_an_older_incarnation_is_dropped(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, ("true",)))
    await events.exited()
    started = launcher.ignite(launch_spec(tmp_path, ("sleep", "60"), incarnation=2))
    launcher.kill("crown_router", 1)
    launcher.signal("crown_router", 1, "TERM")
    launcher.kill("other", 2)
    assert alive(started.pid)
    # In the middle of exec a process has no command line yet.
    await until(lambda: launcher.holders("crown_router") == [f"pid {started.pid} (sleep 60)"])


async def test_second_copy_is_refused(launcher: LocalLauncher, tmp_path: Path) -> None:
    started = launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    with pytest.raises(LaunchError, match=rf"incarnation 1 is still there: pid {started.pid}"):
        launcher.ignite(launch_spec(tmp_path, ("sleep", "60"), incarnation=2))


async def test_stopped_process_hears_of_the_stop(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    started = launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    os.kill(started.pid, signal.SIGSTOP)
    await until(lambda: (entry := procfs.stat(started.pid)) and entry.state == "T")
    launcher.signal("crown_router", 1, "TERM")
    assert (await events.exited()).signal == "TERM"


async def test_stop_that_is_ignored_ends_with_kill(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, sh("trap '' TERM; echo $$ > pid; while :; do sleep 60; done")))
    pid = await read_pid(tmp_path / "pid")
    launcher.signal("crown_router", 1, "TERM")
    assert any(f"pid {pid} " in holder for holder in launcher.holders("crown_router"))
    launcher.kill("crown_router", 1)
    assert (await events.exited()).signal == "KILL"
    assert launcher.holders("crown_router") == []


async def test_holder_names_show_no_credentials(launcher: LocalLauncher, tmp_path: Path) -> None:
    launcher.ignite(launch_spec(tmp_path, ("tail", "-f", "/dev/null", "http://ann:hunter22@h/x")))
    holder = await until(lambda: next((h for h in launcher.holders("crown_router") if "tail -f" in h), None))
    assert "hunter22" not in holder


async def test_stdout_holder_does_not_hide_death(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """A grandchild that keeps stdout open must not keep the end of its parent from being seen."""
    launcher.ignite(launch_spec(tmp_path, sh("setsid sleep 60 & echo $! > pid; exit 7")))
    exited = await events.exited()
    assert exited.code == 7
    assert not alive(await read_pid(tmp_path / "pid"))


async def test_relaunch_from_within_the_report(tmp_path: Path) -> None:
    """The report of an end may start the next incarnation at once."""
    ends: list[Exited] = []

    def report(event: object) -> None:
        assert isinstance(event, Exited)
        ends.append(event)
        if len(ends) < 20:
            launcher.ignite(launch_spec(tmp_path, ("true",), incarnation=len(ends) + 1))

    launcher = LocalLauncher(report)
    launcher.ignite(launch_spec(tmp_path, ("true",)))
    await until(lambda: len(ends) == 20)
    assert [end.incarnation for end in ends] == list(range(1, 21))
    await launcher.close()


async def test_no_descriptor_is_kept_for_what_has_ended(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, ("true",)))
    await events.exited()
    with none_left_open():
        for incarnation in range(2, 12):
            launcher.ignite(launch_spec(tmp_path, sh("setsid sleep 60 &"), incarnation=incarnation))
            await events.exited(incarnation)
            with pytest.raises(LaunchError):
                launcher.ignite(launch_spec(tmp_path, ("/nowhere",), incarnation=incarnation))
