"""Where the time of a boot went: from a tape of events, and of a real mission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from razar.engine import events
from razar.mission_logger import Journal, Record
from razar.operator.mission import boot_ended
from razar.operator.timeline import Boot, read_boot
from razar.projections.recent_events import LIMIT
from tests.commands.mission import Folder, razar


def tape(*entries: tuple[float, events.Event]) -> list[Record]:
    started = (0.0, events.BootStarted("boot-1", "demo"))
    return [
        Record(seq=number, at=1000.0 + at, boot="boot-1", event=event)
        for number, (at, event) in enumerate((started, *entries), start=1)
    ]


def up(id: str, started: float, healthy: float, incarnation: int = 1) -> list[tuple[float, events.Event]]:
    return [(started, events.Spawned(id, incarnation, 1)), (healthy, events.ProbePassed(id, incarnation))]


def boot(
    *entries: tuple[float, events.Event],
    successes: dict[str, int] | None = None,
    dependencies: dict[str, Sequence[str]] | None = None,
) -> Boot:
    found = read_boot(tape(*entries), successes=successes or {}, dependencies=dependencies)
    assert found is not None
    return found


def path(found: Boot) -> list[tuple[str, float]]:
    return [(what, round(seconds, 6)) for what, seconds in found.path]


def step(found: Boot, id: str) -> Any:
    return next(step for step in found.steps if step.id == id)


BEGAN = (0.5, events.IgnitionBegan())


def test_one_after_the_other() -> None:
    found = boot(BEGAN, *up("a", 0.6, 1.0), *up("b", 1.1, 3.0))
    assert path(found) == [("preparation", 0.5), ("a", 0.5), ("b", 2.0)]
    assert found.seconds == 3.0
    assert [found.percent(seconds) for _, seconds in found.path] == [16.7, 16.7, 66.7]


def test_in_parallel_only_dependencies_count() -> None:
    entries = sorted(
        [BEGAN, *up("a", 0.5, 1.0), *up("slow", 0.5, 2.0), *up("b", 1.0, 4.0)], key=lambda entry: entry[0]
    )
    found = boot(*entries, dependencies={"b": ["a"]})
    assert path(found) == [("preparation", 0.5), ("a", 0.5), ("b", 3.0)]


def test_retries_count_until_the_component_is_healthy() -> None:
    found = boot(
        BEGAN,
        (0.6, events.Spawned("a", 1, 1)),
        (0.7, events.Exited("a", 1, 1)),
        (1.0, events.LaunchFailed("a", 2, "no such file")),
        *up("a", 2.0, 2.5, 3),
    )
    assert (step(found, "a").attempts, step(found, "a").outcome) == (3, "healthy")
    assert path(found) == [("preparation", 0.5), ("a", 2.0)]


def test_what_comes_after_the_first_health_is_no_part_of_the_boot() -> None:
    found = boot(BEGAN, *up("a", 0.6, 1.0), (50.0, events.Exited("a", 1, 1)), *up("a", 51.0, 52.0, 2))
    assert (found.seconds, step(found, "a").attempts) == (1.0, 1)


def test_probes_needed_in_a_row_are_counted() -> None:
    found = boot(
        BEGAN,
        *up("a", 0.6, 0.7),
        (0.8, events.ProbeFailed("a", 1, "refused")),
        (0.9, events.ProbePassed("a", 1)),
        (1.0, events.ProbePassed("a", 1)),
        successes={"a": 2},
    )
    assert step(found, "a").healthy == 1.0


def test_a_task_is_done_when_it_has_exited() -> None:
    found = boot(BEGAN, (0.6, events.Spawned("t", 1, 1)), (1.6, events.Exited("t", 1, 0)))
    assert (step(found, "t").outcome, found.seconds) == ("completed", pytest.approx(1.6))


def test_what_never_became_healthy_ends_the_path_with_its_failure() -> None:
    found = boot(BEGAN, *up("a", 0.6, 1.0), (1.0, events.Spawned("b", 1, 1)), (9.0, events.Exited("b", 1, 1)))
    assert (step(found, "b").outcome, step(found, "b").healthy) == ("failed", None)
    assert path(found)[-1] == ("b", 8.0)


def test_what_an_operator_releases_or_restarts_later_is_no_part_of_the_boot() -> None:
    failed = [(0.6, events.Spawned("a", 1, 1)), (0.7, events.Exited("a", 1, 1))]
    found = boot(
        BEGAN,
        *failed,
        (50.0, events.OperatorReleased("a")),
        *up("a", 50.1, 50.2, 2),
        (60.0, events.OperatorReleased("b")),  # In quarantine since an earlier boot.
        *up("b", 60.1, 60.2),
    )
    assert (found.seconds, [(step.id, step.outcome, step.attempts) for step in found.steps]) == (
        pytest.approx(0.7),
        [("a", "failed", 1)],
    )


def test_what_comes_after_the_end_of_the_boot_is_no_part_of_it() -> None:
    records = tape(BEGAN, *up("a", 0.6, 1.0), *up("held", 90.0, 91.0))
    found = read_boot(records, successes={}, dependencies=None, ended=1001.0)
    assert found is not None
    assert (found.seconds, [step.id for step in found.steps]) == (1.0, ["a"])


def test_what_is_not_healthy_yet_has_taken_all_of_the_time_since() -> None:
    records = tape(BEGAN, *up("a", 0.6, 1.0), (1.0, events.Spawned("slow", 1, 1)))
    found = read_boot(records, successes={}, dependencies=None, now=1061.0)
    assert found is not None
    assert path(found) == [("preparation", 0.5), ("a", 0.5), ("slow", 60.0)]
    stopped = boot(*((record.at - 1000, record.event) for record in records[1:] if record.event is not None),
                   (31.0, events.ShutdownRequested("SIGINT")), (32.0, events.Exited("slow", 1, -15)))  # fmt: skip
    assert (stopped.seconds, step(stopped, "slow").outcome) == (31.0, "igniting")


def test_the_end_of_a_boot_is_read_from_its_snapshot() -> None:
    end = {"step": "boot", "component": None, "status": "complete", "timestamp": 1001.5}
    other = {"step": "probe", "component": "a", "status": "ok", "timestamp": 1002.0}
    snapshot = {"boot_id": "boot-1", "last_boot": "1970-01-01T00:16:41Z", "events": [end, other]}
    assert boot_ended(snapshot, "boot-1", 1000.0) == 1001.5
    assert boot_ended(snapshot, "boot-2", 1000.0) is None
    assert boot_ended(None, "boot-1", 1000.0) is None
    # Before its end the last boot is the one before.
    assert boot_ended(snapshot | {"events": [other]}, "boot-1", 1000.0) is None
    assert boot_ended(snapshot | {"events": [other] * LIMIT}, "boot-1", 1000.0) == 1002.0
    assert boot_ended(snapshot | {"events": [other] * LIMIT}, "boot-1", 5000.0) is None


@pytest.mark.parametrize("meddle", [events.OperatorStopped, events.OperatorRestarted])
def test_an_operator_who_meddles_ends_the_measurement(meddle: type[events.OperatorStopped]) -> None:
    found = boot(BEGAN, (0.6, events.Spawned("a", 1, 1)), (2.0, meddle("a")), (2.1, events.Exited("a", 1, 0)))
    assert (step(found, "a").outcome, step(found, "a").ended) == ("failed", 2.0)


def test_a_boot_that_was_stopped_before_its_ignition() -> None:
    found = boot(
        (0.2, events.EnvironmentPrepared("core", "failed", 0.1)), (0.3, events.ShutdownRequested("SIGINT"))
    )
    assert (found.path, found.steps, found.phases[0].outcome) == ((), (), "failed")


def test_records_without_a_beginning_are_no_boot() -> None:
    assert read_boot(tape(BEGAN)[1:], successes={}, dependencies=None) is None
    assert read_boot([], successes={}, dependencies=None) is None


def test_a_real_boot(shared: Folder) -> None:
    done = shared.razar("timeline")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mission demo, boot of ")
    assert "critical path" in done.stdout
    found = shared.json("timeline")
    assert [entry["id"] for entry in found["components"]] == ["web", "worker", "broken"]
    assert [entry["outcome"] for entry in found["components"]] == ["healthy", "healthy", "failed"]
    assert [part["what"] for part in found["critical_path"]] == ["preparation", "web", "worker", "broken"]
    assert abs(sum(part["seconds"] for part in found["critical_path"]) - found["seconds"]) < 0.001
    assert abs(sum(part["percent"] for part in found["critical_path"]) - 100) < 0.5


def test_a_real_boot_is_as_long_as_before_after_a_release(own: Folder) -> None:
    before = own.json("timeline")
    assert own.razar("restart", "broken").returncode == 1
    after = own.json("timeline")
    assert (after["seconds"], after["critical_path"]) == (before["seconds"], before["critical_path"])


def test_without_its_configuration_the_boot_is_shown_all_the_same(shared: Folder, tmp_path: Path) -> None:
    done = razar(tmp_path, "timeline", "--logs", str(shared.logs))
    assert done.returncode == 0
    assert "dependencies are not known" in done.stderr
    assert "worker" in done.stdout


def test_no_journal_and_one_without_the_beginning(tmp_path: Path) -> None:
    done = razar(tmp_path, "timeline")
    assert (done.returncode, done.stdout) == (1, "")
    (tmp_path / "logs").mkdir()
    journal = Journal(str(tmp_path / "logs" / "razar_journal.jsonl"))
    journal.append(events.IgnitionBegan(), 1.0)
    journal.close()
    done = razar(tmp_path, "timeline")
    assert done.returncode == 1
    assert "no longer holds the beginning" in done.stderr
