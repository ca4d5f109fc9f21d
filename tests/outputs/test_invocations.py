"""The log of repair attempts and the counters it moves."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from razar import metrics
from razar.utils import logging as invocations
from razar.utils.logging import load_invocations, log_invocation, use_folder

from .conftest import SmallDisk


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> metrics.Store:
    fresh = metrics.Store()
    monkeypatch.setattr(metrics, "DEFAULT", fresh)
    return fresh


def _value(store: metrics.Store, name: str, component: str = "crown_router") -> float | None:
    metric = next(metric for metric in metrics.TABLE if metric.name == f"razar_ai_invocation_{name}_total")
    return dict(store.samples(metric)).get((component,))


def test_a_record_has_the_promised_fields(tmp_path: Path) -> None:
    path = tmp_path / "razar_ai_invocations.json"
    log_invocation("crown_router", 2, "Health check failed", False, timestamp=1730481774.125, log_path=path)
    assert json.loads(path.read_text()) == {
        "component": "crown_router",
        "attempt": 2,
        "error": "Health check failed",
        "patched": False,
        "status": "failure",
        "timestamp": 1730481774.125,
        "timestamp_iso": "2024-11-01T17:22:54.125000Z",
    }
    assert path.stat().st_mode & 0o777 == 0o640


def test_optional_fields_are_there_if_given(tmp_path: Path) -> None:
    path = tmp_path / "log"
    record = log_invocation(
        "a",
        1,
        "e",
        True,
        agent="AirStar",
        event="attempt",
        retries=0,
        reason="path not allowed",
        patch_id="p1",
        seconds=1.5,
        tokens=900,
        log_path=path,
    )
    assert record["agent"] == "airstar" and record["agent_original"] == "AirStar"
    assert record["status"] == "success" and record["retries"] == 0 and record["patch_id"] == "p1"
    assert json.loads(path.read_text()) == record
    assert "agent_original" not in log_invocation("a", 2, "e", False, agent="kimi2", log_path=path)


def test_six_attempts_count_five_retries(tmp_path: Path, store: metrics.Store) -> None:
    for attempt in range(1, 7):
        log_invocation("Crown_Router", attempt, "e", attempt == 6, seconds=40.0, log_path=tmp_path / "log")
    assert _value(store, "retries") == 5
    assert _value(store, "failure") == 5
    assert _value(store, "success") == 1
    metric = next(m for m in metrics.TABLE if m.name == "razar_ai_retry_duration_seconds")
    ((labels, buckets, total),) = store.histograms(metric)
    assert labels == ("crown_router",) and total == 240.0
    assert dict(buckets)["30.0"] == 0 and dict(buckets)["60.0"] == 6


def test_escalations_are_recorded_but_are_no_attempts(tmp_path: Path, store: metrics.Store) -> None:
    path = tmp_path / "log"
    log_invocation("crown_router", 9, "e", False, log_path=path)
    log_invocation("crown_router", 9, "e", False, event="escalation", agent="airstar", log_path=path)
    assert _value(store, "failure") == 1 and _value(store, "retries") == 1
    assert len(load_invocations("crown_router", log_path=path)) == 2
    assert len(load_invocations("crown_router", events={"attempt"}, log_path=path)) == 1


def test_the_last_records_of_a_component_are_loaded_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for attempt in range(1, 9):
        log_invocation("a", attempt, "e", False, log_path=path)
        log_invocation("ab", attempt, "a", False, log_path=path)
    assert [record["attempt"] for record in load_invocations("a", 5, log_path=path)] == [4, 5, 6, 7, 8]
    assert len(load_invocations(log_path=path)) == 16
    assert load_invocations("a", 0, log_path=path) == []


def test_bad_lines_are_skipped_and_a_missing_file_is_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert load_invocations("a", log_path=path) == []
    log_invocation("a", 1, "e", False, log_path=path)
    with path.open("ab") as file:
        file.write(
            b'\xff\0"a"\n["a"]\n{"component":7,"x":"a"}\n' + b"[" * 100_000 + b'"a"\n{"component":"a","att'
        )
    log_invocation("a", 2, "e", False, log_path=path)
    assert [record["attempt"] for record in load_invocations("a", log_path=path)] == [1, 2]


def test_secrets_and_broken_text_do_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log_invocation(
        "a", 1, "https://u:hunter22@host refused \udcff", False, reason="Bearer hunter2222", log_path=path
    )
    assert b"hunter2" not in path.read_bytes()
    assert load_invocations("a", log_path=path)[0]["error"] == "https://host refused \\udcff"


def test_a_full_disk_is_a_warning_and_the_counters_move(
    small_disk: SmallDisk, store: metrics.Store, caplog: pytest.LogCaptureFixture
) -> None:
    small_disk.fill()
    for attempt in (1, 2):
        log_invocation("crown_router", attempt, "x" * 10_000, False, log_path=small_disk.path / "log")
    assert _value(store, "failure") == 2
    assert "No space left" in caplog.text


def test_the_default_folder_is_the_one_that_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "_folder", "logs")
    use_folder(str(tmp_path))
    log_invocation("a", 1, "e", True)
    assert (tmp_path / "razar_ai_invocations.json").exists()
    assert load_invocations("a", 1)[0]["patched"] is True


def _write(path: str, name: str) -> None:
    for attempt in range(1, 201):
        log_invocation(name, attempt, "x" * 300, False, log_path=path)


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, f"c{n}")) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    for number in range(4):
        attempts = [record["attempt"] for record in load_invocations(f"c{number}", log_path=path)]
        assert attempts == list(range(1, 201))
