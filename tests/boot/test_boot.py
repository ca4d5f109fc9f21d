"""A boot from start to end: what is shown, written, left behind, and returned."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.boot.mission import Mission, http_service, script, service
from tests.support.ports import free_port
from tests.support.waiting import until_sync

Make = Callable[..., Mission]


def test_a_mission_of_the_four_keys_boots_in_order_and_stops_in_reverse(mission: Make) -> None:
    one = mission(http_service("basic_service", free_port()), http_service("crown_router", free_port()))
    assert one.boot() == 0
    told = [line for line in one.log if "Mission" in line or "Booting" in line or "Health" in line]
    assert told == [
        "INFO Booting component basic_service",
        "INFO Health check passed for basic_service",
        "INFO Booting component crown_router",
        "INFO Health check passed for crown_router",
        "INFO Mission demo complete",
        *told[5:],
    ]
    stops = [line for line in one.log if line.endswith(": stopped")]
    assert stops == ["INFO crown_router: stopped", "INFO basic_service: stopped"]
    assert one.processes() == []
    first = (one.logs / "boot_orchestrator.log").read_text().splitlines()[0]
    assert re.match(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] INFO ", first)


def test_the_state_file_tells_who_runs_and_how_it_ended(mission: Make) -> None:
    one = mission(service("a"), service("b", depends_on=["a"])).start()
    one.wait_for_line("INFO Mission demo complete")
    running = one.wait_for_state("b", "running")
    assert running["pid"] in one.processes() and running["incarnation"] == 1 and running["restarts"] == 0
    assert one.state["schema"] == 1 and one.state["mission"] == "demo" and one.state["quarantine"] == []
    assert one.stop() == 0
    assert {c["id"]: c["state"] for c in one.state["components"]} == {"a": "stopped", "b": "stopped"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.state["last_boot"])


def test_a_component_that_exits_before_it_is_healthy_fails_with_code_and_last_lines(mission: Make) -> None:
    words = "for n in $(seq 1 30); do echo line $n; done; exit 7"
    one = mission(script("basic_service", words, retries=0), service("other"))
    assert one.boot() == 1
    assert "ERROR Health check failed for basic_service" in one.log
    text = "\n".join(one.log)
    assert "exited with code 7 before it was healthy" in text
    assert "line 30" in text and "line 11" in text and "line 10\n" not in text
    assert "basic_service is quarantined" in one.err
    assert "INFO Health check passed for other" in one.log
    rows = (one.folder / "docs" / "quarantine_log.md").read_text()
    assert re.search(r"^\| \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \| basic_service \| \w+ \| .+ \|$", rows, re.M)


def test_a_missing_module_is_classed_as_a_dependency(mission: Make) -> None:
    broken = {
        "id": "a",
        "layer": "core",
        "entrypoint": ["python", "-c", "import no_such_module"],
        "retries": 0,
    }
    one = mission({**broken, "health": "tcp://127.0.0.1:9"})
    assert one.boot() == 1
    row = (one.folder / "docs" / "quarantine_log.md").read_text()
    assert "| a | dependency | Install missing packages or verify the environment. |" in row


def test_the_mission_goes_on_without_what_failed_and_says_so(mission: Make) -> None:
    one = mission(script("a", "exit 1", retries=0), service("b", depends_on=["a"]), service("c")).start()
    one.wait_for_state("c", "running")
    assert one.wait_for_state("b", "blocked")["error"] == "a, which it depends on, is quarantined"
    until_sync(
        lambda: any(line.startswith("ERROR Mission demo failed: a is quarantined") for line in one.log)
    )
    assert one.process is not None and one.process.poll() is None
    assert one.stop() == 1


def test_an_optional_failure_does_not_fail_the_mission(mission: Make) -> None:
    one = mission(script("a", "exit 1", retries=0, criticality="optional"), service("b"))
    assert one.boot() == 0


def test_a_mission_of_tasks_ends_by_itself(mission: Make) -> None:
    task = {"id": "migrate", "layer": "core", "entrypoint": "true", "health": "exit", "kind": "task"}
    one = mission(task).start()
    assert one.wait() == 0
    assert one.component("migrate")["state"] == "completed"


def test_retries_are_attempts_after_the_first(mission: Make) -> None:
    one = mission(script("a", "echo tried >> tries; exit 1", restart={"backoff": "10ms"}))
    assert one.boot("--retries", "1") == 1
    assert (one.folder / "tries").read_text() == "tried\n" * 2


@pytest.mark.parametrize("options", [(), ("--retries", "1")])
def test_quarantine_outlives_the_boot_until_it_is_released(mission: Make, options: tuple[str, ...]) -> None:
    one = mission(script("a", "test -e mended && echo ready && exec sleep 1000", retries=0))
    assert one.boot() == 1
    (one.folder / "mended").touch()
    assert one.boot(*options) == 1  # Nobody has changed its definition.
    assert "razar quarantine release a" in one.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_the_end_of_the_boot_stops_everything(
    mission: Make, number: signal.Signals
) -> None:
    one = mission(service("a"), script("b", "sleep 1000")).start()
    one.wait_for_state("b", "igniting")
    assert one.stop(number) == 128 + number
    assert one.processes() == []


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_razar_stop_before_the_end_of_the_boot_is_an_interruption(
    mission: Make, options: tuple[str, ...]
) -> None:
    one = mission(script("slow", "exec sleep 1000")).start(*options)
    until_sync(lambda: (one.logs / "razar.sock").exists() and one.component("slow").get("pid"))
    stop = [sys.executable, "-m", "razar", "stop"]
    assert subprocess.run(stop, cwd=one.folder, env=one.environ(), timeout=30).returncode == 0
    assert one.wait() == 143
    assert one.log[-1] == "INFO Mission demo stopped: razar stop"
    assert not one.processes()


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(mission: Make) -> None:
    one = mission(service("a")).start()
    one.wait_for_line("INFO Mission demo complete")
    first = one.process
    assert first is not None
    assert one.boot() == 5
    assert f"pid {first.pid}" in one.err
    one.process = first
    assert one.stop() == 0


def test_a_configuration_error_starts_and_writes_nothing(mission: Make) -> None:
    one = mission(service("a", dependz_on=["x"]), service("a"))
    before = sorted(path.name for path in one.folder.iterdir())
    assert one.boot() == 2
    after = {path.name for path in one.folder.iterdir()} - {"stdout", "stderr"}
    assert after == set(before)
    assert "depends_on" in one.err and "/components/0" in one.err and "Traceback" not in one.err


def test_check_and_plan_write_nothing(mission: Make) -> None:
    one = mission(service("a"), service("b", depends_on=["a"]))
    for options in (("--check",), ("--plan",), ("--plan", "--json"), ("--check", "--json")):
        assert one.start(*options).wait() == 0
        assert not one.logs.exists()
    assert one.start("--plan", "--json").wait() == 0
    assert json.loads(one.out)["waves"] == [["a"], ["b"]]


def test_every_fact_is_one_json_object_a_line(mission: Make) -> None:
    one = mission(service("a"))
    assert one.boot("--json") == 0
    facts = [json.loads(line) for line in one.out.splitlines()]
    assert any(f["fact"] == "MissionSettled" and f["outcome"] == "complete" for f in facts)


def test_a_condition_that_is_false_skips_the_component(mission: Make) -> None:
    pytest.importorskip("razar._native", reason="the extension is not built")
    one = mission(service("gpu", when="'GPU' in env"), service("b", depends_on=["gpu"]))
    assert one.boot() == 0
    assert one.component("gpu")["state"] == "skipped"


def test_a_corrupt_state_file_is_set_aside_and_told(mission: Make) -> None:
    one = mission(service("a"))
    one.logs.mkdir()
    (one.logs / "razar_state.json").write_text('{"schema": 1, "miss')
    assert one.boot() == 0
    assert [path for path in one.logs.iterdir() if "corrupt" in path.name]
    assert any(line.startswith("WARN") and "razar_state.json" in line for line in one.log)


def test_a_port_that_a_stranger_holds_is_named(mission: Make) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as stranger:
        one = mission(http_service("a", stranger.getsockname()[1], retries=0))
        assert one.boot() == 1
    import os

    assert any("is already in use by" in line and f"pid {os.getpid()}" in line for line in one.log)
