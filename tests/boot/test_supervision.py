"""After the boot: deaths, unhealthiness, stops, and a supervisor that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.boot.mission import Mission, http_service, script, service
from tests.support.ports import free_port
from tests.support.waiting import until_sync

Make = Callable[..., Mission]


def test_a_component_that_dies_is_restarted(mission: Make) -> None:
    one = mission(service("a", restart={"backoff": "0ms"})).start()
    first = one.wait_for_state("a", "running")
    one.wait_for_line("INFO Mission demo complete")
    os.kill(first["pid"], signal.SIGKILL)
    second = until_sync(lambda: (c := one.component("a")) and c["incarnation"] == 2 and c["pid"] and c)
    assert second["restarts"] == 1 and second["pid"] != first["pid"]
    assert one.stop() == 0


def test_a_component_that_dies_too_often_is_quarantined(mission: Make) -> None:
    text = "echo ready; while ! test -e go; do sleep 0.01; done; exit 1"
    one = mission(script("a", text, restart={"backoff": "1ms", "limit": 2}), service("b")).start()
    one.wait_for_line("INFO Mission demo complete")
    (one.folder / "go").touch()
    one.wait_for_state("a", "quarantined")
    assert one.component("b")["state"] == "running"
    assert one.stop() == 1
    assert "restarted 2 times" in one.err


def test_a_component_that_hangs_is_found_by_liveness_and_restarted(mission: Make) -> None:
    port = free_port()
    health = {"http": f"http://127.0.0.1:{port}/", "interval": "50ms", "timeout": "500ms", "failures": 2}
    one = mission(
        http_service("a", port, health=health, restart={"backoff": "0ms"}, stop={"grace": "100ms"})
    ).start()
    first = one.wait_for_state("a", "running")
    one.wait_for_line("INFO Mission demo complete")
    os.kill(first["pid"], signal.SIGSTOP)
    until_sync(lambda: one.component("a").get("incarnation") == 2)
    one.wait_for_state("a", "running")
    assert any("health checks in a row failed" in line for line in one.log)
    assert one.stop() == 0


def test_the_stop_is_in_reverse_order_and_names_who_holds_it_up(mission: Make) -> None:
    stubborn = script("b", "trap '' TERM; echo ready; while :; do sleep 1; done", stop={"grace": "1500ms"})
    one = mission(service("a"), stubborn).start()
    one.wait_for_line("INFO Mission demo complete")
    pid = one.wait_for_state("b", "running")["pid"]
    assert one.stop() == 0
    waiting = next(
        index for index, line in enumerate(one.log) if line.startswith("INFO Waiting for b to stop")
    )
    assert str(pid) in one.log[waiting]
    assert one.log.index("INFO b: stopped") < one.log.index("INFO a: stopped")
    assert one.processes() == []


def test_nobody_is_said_to_be_waited_for_who_has_been_started_anew(mission: Make) -> None:
    stubborn = script("b", "trap '' TERM; echo ready; while :; do sleep 1; done", stop={"grace": "1500ms"})
    one = mission(service("a"), stubborn).start()
    one.wait_for_line("INFO Mission demo complete")
    assert one.run("razar", "restart", "a").returncode == 0
    # The look at what holds up b comes after the one at a, which was asked to stop before.
    assert one.run("razar", "restart", "b").returncode == 0
    assert any(line.startswith("INFO Waiting for b to stop") for line in one.log)
    assert not any(line.startswith("INFO Waiting for a to stop") for line in one.log)
    assert one.stop() == 0


def test_signals_that_mean_nothing_end_nothing_and_reach_nobody(mission: Make) -> None:
    one = mission(script("a", "trap 'echo heard' USR1; echo ready; while :; do sleep 0.01; done")).start()
    pid = one.wait_for_state("a", "running")["pid"]
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        one.signal(number)
    os.kill(pid, signal.SIGUSR1)  # A component keeps what the signals mean to it.
    log = one.logs / "components" / "a" / "current.log"
    until_sync(lambda: log.read_text() == "ready\nheard\n")
    assert one.component("a")["pid"] == pid and one.stop() == 0


def test_a_second_interrupt_ends_every_grace_period(mission: Make) -> None:
    stubborn = script("a", "trap '' TERM; echo ready; while :; do sleep 1; done", stop={"grace": "10m"})
    one = mission(stubborn).start()
    one.wait_for_line("INFO Mission demo complete")
    one.signal(signal.SIGINT)
    one.wait_for_state("a", "stopping")
    assert one.stop(signal.SIGINT) == 0
    assert one.processes() == []


def test_a_descendant_in_a_session_of_its_own_is_stopped_too(mission: Make) -> None:
    text = "setsid sh -c 'sleep 1000 & exec sleep 1000' & echo ready; exec sleep 1000"
    one = mission(script("a", text)).start()
    one.wait_for_line("INFO Mission demo complete")
    until_sync(lambda: len(one.processes()) == 4)
    assert one.stop() == 0
    assert one.processes() == []


def test_a_stray_that_nobody_knows_is_killed_and_told(mission: Make) -> None:
    """It shows no mark of its component: the warning must not be lost with the terminal."""
    stray = "env -i PATH=$PATH setsid sh -c 'touch stray; exec sleep 1000'"
    one = mission(
        script("a", f"({stray} &); until [ -e stray ]; do sleep 0.01; done; echo ready; exec sleep 1000")
    )
    assert one.boot() == 0
    [line] = [line for line in one.log if "left behind" in line]
    assert line.startswith("WARN killed pid ") and "sleep 1000" in line


def test_after_kill_minus_nine_the_next_boot_leaves_no_second_copy(mission: Make) -> None:
    one = mission(service("a"), script("b", "setsid sleep 1000 & echo ready; exec sleep 1000")).start()
    one.wait_for_line("INFO Mission demo complete")
    old = {one.wait_for_state(id, "running")["pid"] for id in ("a", "b")}
    until_sync(lambda: len(one.processes()) == 4)
    assert one.stop(signal.SIGKILL) == -signal.SIGKILL
    assert old <= set(one.processes())
    one.start()
    one.wait_for_line("INFO Mission demo complete")
    until_sync(lambda: one.log.count("INFO Mission demo complete") == 2)
    assert not old & set(one.processes())
    assert len(one.processes()) == 4
    assert any("a is left over from a supervisor that was killed" in line for line in one.log)
    assert one.stop() == 0
    assert one.processes() == []


def test_detach_returns_when_the_boot_has_ended_and_leaves_a_supervisor(mission: Make) -> None:
    one = mission(service("a"))
    assert one.start("--detach").wait() == 0
    assert one.component("a")["state"] == "running"
    supervisor = int(one.out.split("supervisor: pid ")[1].split()[0])
    os.kill(supervisor, signal.SIGTERM)
    until_sync(lambda: one.processes() == [])
    assert one.component("a")["state"] == "stopped"


def test_detach_of_a_mission_that_fails_returns_one(mission: Make) -> None:
    one = mission(script("a", "exit 1", retries=0))
    assert one.start("--detach").wait() == 1
    assert "a is quarantined" in one.err
