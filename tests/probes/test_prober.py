"""When is probed, and what is reported."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from razar import health_checks
from razar.config.model import Probe
from razar.engine.events import ProbeFailed, ProbePassed
from razar.health_checks import Prober
from tests.probes.checking import unused_evaluate
from tests.support.components import Events, alive, probe_target, read_pid, sh
from tests.support.http_server import serve
from tests.support.waiting import until


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def prober(events: Events) -> AsyncIterator[Prober]:
    prober = Prober(events, evaluate=unused_evaluate)
    yield prober
    await prober.close()


def file_probe(folder: Path, **options: object) -> Probe:
    return Probe(kind="file", target=str(folder / "up"), **options)  # type: ignore[arg-type]


async def test_passes_are_reported_each_time(prober: Prober, events: Events, tmp_path: Path) -> None:
    """A component may have to pass several times."""
    (tmp_path / "up").touch()
    prober.start(probe_target(file_probe(tmp_path), tmp_path, incarnation=7), "readiness")
    await until(lambda: len(events) >= 3)
    assert set(events) == {ProbePassed("crown_router", 7)}


async def test_failure_is_reported_once_until_it_changes(
    prober: Prober, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_checks, "REPORT_INTERVAL", 0.0)
    attempts: list[str] = []
    prober._on_probe = lambda component, outcome, seconds: attempts.append(outcome)
    target = probe_target(file_probe(tmp_path), tmp_path, launched_ns=1 << 62)
    prober.start(target, "readiness")
    await until(lambda: len(attempts) >= 10)
    (tmp_path / "up").touch()
    await until(lambda: len(events) == 2)
    await until(lambda: len(attempts) >= 20)
    assert [event.error.removeprefix(f"{tmp_path}/up ") for event in events.of(ProbeFailed)] == [
        "does not exist",
        "exists, but was not written since this launch",
    ]
    assert set(attempts) == {"failed"}


async def test_failures_that_differ_every_time_are_not_all_reported(
    prober: Prober, events: Events, tmp_path: Path
) -> None:
    attempts: list[str] = []
    prober._on_probe = lambda component, outcome, seconds: attempts.append(outcome)
    probe = Probe(kind="cmd", argv=sh("date +%N; exit 1"), timeout=5.0)
    prober.start(probe_target(probe, tmp_path), "readiness")
    await until(lambda: len(attempts) >= 5)
    assert len(events.of(ProbeFailed)) < len(attempts)


async def test_component_that_comes_up_is_noticed(prober: Prober, events: Events, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        probe = Probe(kind="tcp", target=f"127.0.0.1:{sock.getsockname()[1]}")
        prober.start(probe_target(probe, tmp_path), "readiness")
        await events.failed("refused")
        sock.listen()
        await events.passed()


async def test_pauses_grow_with_the_time_waited(
    prober: Prober, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def note(self: object, seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(min(seconds, 0.002))

    monkeypatch.setattr("razar.probes.base.Check.pause", note)
    prober.start(probe_target(file_probe(tmp_path), tmp_path), "readiness")
    await until(lambda: len(pauses) > 30)
    assert pauses[0] == health_checks.FIRST
    assert pauses == sorted(pauses)
    assert all(health_checks.SHORTEST <= pause <= health_checks.LONGEST for pause in pauses[1:])


async def test_probes_of_one_component_never_overlap(prober: Prober, events: Events, tmp_path: Path) -> None:
    script = "mkdir lock || echo overlap >> overlaps; sleep 0.02; rmdir lock; echo x >> runs; exit 1"
    probe = Probe(kind="cmd", argv=sh(script), timeout=5.0, interval=0.001)
    runs = tmp_path / "runs"
    for phase in ("readiness", "liveness"):
        prober.start(probe_target(probe, tmp_path), phase)
        await until(lambda: runs.exists() and len(runs.read_text().split()) >= 4)
        prober.stop("crown_router", 1)
        await until(lambda: not prober._ending)
        runs.unlink(missing_ok=True)
        (tmp_path / "lock").rmdir() if (tmp_path / "lock").exists() else None
    assert not (tmp_path / "overlaps").exists()


async def test_liveness_reports_every_failure_and_the_first_pass_after(
    prober: Prober, events: Events, tmp_path: Path
) -> None:
    path = tmp_path / "up"
    path.touch()
    attempts: list[str] = []
    prober._on_probe = lambda component, outcome, seconds: attempts.append(outcome)
    prober.start(probe_target(file_probe(tmp_path, interval=0.002), tmp_path), "liveness")
    await until(lambda: attempts.count("passed") >= 3)
    assert events == []
    path.unlink()
    await until(lambda: attempts.count("failed") >= 3)
    path.touch()
    before = len(attempts)
    await until(lambda: len(attempts) > before + 3)
    passed = len(events.of(ProbePassed))
    assert len(events.of(ProbeFailed)) == attempts.count("failed")
    assert passed == 1
    assert isinstance(events[-1], ProbePassed)


async def test_liveness_begins_after_about_one_interval_spread_over_components(tmp_path: Path) -> None:
    first: list[float] = []

    async def note(self: object, seconds: float) -> None:
        first.append(seconds)
        await asyncio.Event().wait()

    prober = Prober(lambda event: None, evaluate=unused_evaluate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("razar.probes.base.Check.pause", note)
        for n in range(50):
            prober.start(
                probe_target(file_probe(tmp_path, interval=10.0), tmp_path, component=f"c{n}"), "liveness"
            )
        await until(lambda: len(first) == 50)
        await prober.close()
    assert 7.4 < min(first) < 8.5
    assert 11.5 < max(first) < 12.5
    assert len({round(delay, 2) for delay in first}) > 40


@pytest.mark.parametrize("kind", ["log", "exit"])
async def test_kinds_that_cannot_fail_later_are_not_probed_for_liveness(
    prober: Prober, tmp_path: Path, kind: str
) -> None:
    prober.start(probe_target(Probe(kind=kind, target="x", interval=0.001), tmp_path), "liveness")  # type: ignore[arg-type]
    assert prober._probing == {}


async def test_nothing_is_reported_after_stop(prober: Prober, events: Events, tmp_path: Path) -> None:
    (tmp_path / "up").touch()
    prober.start(probe_target(file_probe(tmp_path), tmp_path, incarnation=3), "readiness")
    await events.passed()
    prober.stop("crown_router", 2)
    before = len(events)
    await until(lambda: len(events) > before)
    prober.stop("crown_router", 3)
    before = len(events)
    other = Events()
    second = Prober(other, evaluate=unused_evaluate)
    second.start(probe_target(file_probe(tmp_path), tmp_path), "readiness")
    await until(lambda: len(other) >= 3)
    await second.close()
    assert len(events) == before


async def test_a_dead_incarnation_is_not_healthy(prober: Prober, events: Events, tmp_path: Path) -> None:
    """The answer that was under way when the component died must not count."""
    async with serve(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n", pause=0.2) as peer:
        probe = Probe(kind="http", target=f"http://127.0.0.1:{peer.port}/", timeout=5.0)
        prober.start(probe_target(probe, tmp_path), "readiness")
        await until(lambda: peer.requests)
        prober.stop("crown_router", 1)
        await until(lambda: not prober._ending)
    assert events == []


@pytest.mark.parametrize("phase", ["readiness", "liveness"])
async def test_stop_between_answer_and_report(
    prober: Prober, events: Events, tmp_path: Path, phase: health_checks.Phase
) -> None:
    attempts: list[str] = []

    def stop(component: str, outcome: str, seconds: float) -> None:
        attempts.append(outcome)
        prober.stop(component, 1)

    prober._on_probe = stop
    prober.start(probe_target(file_probe(tmp_path, interval=0.001), tmp_path), phase)
    await until(lambda: attempts and not prober._ending)
    assert (attempts, events) == (["failed"], [])


async def test_slow_command_gets_pauses_as_long_as_itself(
    prober: Prober, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the command would take the processor from the component it waits for."""
    pauses: list[float] = []
    seconds: list[float] = []

    async def note(self: object, pause: float) -> None:
        pauses.append(pause)
        await asyncio.sleep(0)

    monkeypatch.setattr("razar.probes.base.Check.pause", note)
    prober._on_probe = lambda component, outcome, took: seconds.append(took)
    probe = Probe(kind="cmd", argv=sh("sleep 0.02; exit 1"), timeout=5.0)
    prober.start(probe_target(probe, tmp_path), "readiness")
    await until(lambda: len(pauses) >= 4)
    assert all(pause >= 0.02 for pause in pauses[1:])


async def test_second_start_replaces_the_first(prober: Prober, events: Events, tmp_path: Path) -> None:
    for incarnation in range(1, 6):
        prober.start(probe_target(file_probe(tmp_path), tmp_path, incarnation=incarnation), "readiness")
    (tmp_path / "up").touch()
    await events.passed()
    assert {event.incarnation for event in events} == {5}


async def test_stopped_cmd_probe_leaves_no_process(prober: Prober, events: Events, tmp_path: Path) -> None:
    script = "setsid sleep 60 & echo $! > child; sleep 60"
    prober.start(probe_target(Probe(kind="cmd", argv=sh(script), timeout=30.0), tmp_path), "readiness")
    child = await read_pid(tmp_path / "child")
    await prober.close()
    assert not alive(child)


async def test_error_text_of_a_probe_that_cannot_be_made(
    prober: Prober, events: Events, tmp_path: Path
) -> None:
    prober.start(probe_target(Probe(kind="log", target="("), tmp_path), "readiness")
    assert "cannot probe: '(' is not a regular expression" in events.of(ProbeFailed)[0].error


async def test_fault_of_ours_does_not_end_the_probing(
    prober: Prober,
    events: Events,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = []

    async def stumble(self: object) -> None:
        calls.append(1)
        raise KeyError("oops")

    monkeypatch.setattr("razar.probes.file.FileCheck.attempt", stumble)
    prober.start(probe_target(file_probe(tmp_path), tmp_path), "readiness")
    await until(lambda: len(calls) > 2)
    assert "because of a fault in RAZAR" in await events.failed()
    assert "KeyError" in caplog.text
