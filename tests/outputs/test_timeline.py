"""``python -m razar.mission_logger``: the journal in words; and what the outputs import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from razar.engine import events
from razar.mission_logger import Journal, Record
from razar.projections.timeline import describe

from .support import BEGAN
from .test_journal import ALL


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "razar.mission_logger", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two boots: one with a component that fails once, one that has only begun."""
    journal = Journal(str(tmp_path / "razar_journal.jsonl"))
    for number, event in enumerate(
        [
            events.BootStarted("boot-1", "demo"),
            events.HandshakeCompleted({"status": "ack"}),
            events.IgnitionBegan(),
            events.Spawned("crown_router", 1, 4711, 1),
            events.ProbeFailed("crown_router", 1, "connection refused\n\x1b[2J"),
            events.Exited("crown_router", 1, 3),
            events.Spawned("crown_router", 2, 4712, 1),
            events.ProbePassed("crown_router", 2),
            events.ShutdownRequested("SIGTERM"),
            events.BootStarted("boot-2", "demo"),
        ]
    ):
        journal.append(event, BEGAN + number)
    journal.close()
    return tmp_path


def test_the_timeline_tells_every_event_in_one_line(logs: Path) -> None:
    run = _run("timeline", "--logs", str(logs))
    assert run.returncode == 0 and run.stderr == ""
    assert run.stdout.splitlines() == [
        "2025-09-21T00:00:00Z boot of mission demo began (boot-1)",
        "2025-09-21T00:00:01Z Crown: ack",
        "2025-09-21T00:00:02Z ignition began",
        "2025-09-21T00:00:03Z crown_router: started, pid 4711, incarnation 1",
        "2025-09-21T00:00:04Z crown_router: health check failed: connection refused\\n",
        "2025-09-21T00:00:05Z crown_router: incarnation 1 exited with code 3",
        "2025-09-21T00:00:06Z crown_router: started, pid 4712, incarnation 2",
        "2025-09-21T00:00:07Z crown_router: health check passed",
        "2025-09-21T00:00:08Z shutdown requested: SIGTERM",
        "2025-09-21T00:00:09Z boot of mission demo began (boot-2)",
    ]


def test_the_summary_counts_by_boot_and_component(logs: Path) -> None:
    run = _run("summary", "--logs", str(logs))
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "2025-09-21T00:00:00Z mission demo (boot-1): 9 events, stopped: SIGTERM",
        "  Crown: ack",
        "  crown_router  2 starts, 1 exits, 1 failed probes, 0 repairs; last: health check passed",
        "2025-09-21T00:00:09Z mission demo (boot-2): 1 events, last event 2025-09-21T00:00:09Z",
    ]


def test_both_have_a_form_for_programs(logs: Path) -> None:
    lines = [json.loads(line) for line in _run("timeline", "--logs", str(logs), "--json").stdout.splitlines()]
    assert lines[3]["event"] == {
        "event": "Spawned",
        "component": "crown_router",
        "incarnation": 1,
        "pid": 4711,
        "start_time": 1,
    }
    boots = json.loads(_run("summary", "--logs", str(logs), "--json").stdout)["boots"]
    assert [boot["boot"] for boot in boots] == ["boot-1", "boot-2"]
    assert boots[0]["components"]["crown_router"]["starts"] == 2


def test_a_damaged_journal_is_told_beside_what_can_be_read(logs: Path) -> None:
    with open(logs / "razar_journal.jsonl", "ab") as file:
        file.write(b"garbage\n{torn")
    run = _run("timeline", "--logs", str(logs))
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 10
    assert len(run.stderr.splitlines()) == 2 and "Traceback" not in run.stderr


def test_no_journal_is_exit_1_and_bad_usage_exit_2(tmp_path: Path) -> None:
    run = _run("summary", "--logs", str(tmp_path))
    assert run.returncode == 1 and run.stdout == "" and "no journal at" in run.stderr
    assert _run("nonsense").returncode == 2
    assert _run().returncode == 2


def test_an_unreadable_journal_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "razar_journal.jsonl").mkdir()
    run = _run("timeline", "--logs", str(tmp_path))
    assert run.returncode == 1 and "cannot be read: Is a directory" in run.stderr


def test_a_reader_that_has_seen_enough_is_no_fault(logs: Path) -> None:
    journal = Journal(str(logs / "razar_journal.jsonl"))
    # More than a pipe holds.
    for number in range(3000):
        journal.append(events.Spawned("a", number, 1), BEGAN)
    journal.close()
    command = (
        f"{sys.executable} -m razar.mission_logger timeline --logs {logs} | head -1; exit ${{PIPESTATUS[0]}}"
    )
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_every_event_has_words_of_its_own(event: events.Event) -> None:
    text = describe(Record(seq=1, at=1.0, event=event))
    assert text.isprintable() and text != type(event).__name__
    assert not text.endswith(type(event).__name__)


#: What only those pay for who use it.
HEAVY = (
    "yaml",
    "rich",
    "prometheus_client",
    "opentelemetry",
    "http.client",
    "http.server",
    "urllib.request",
    "ssl",
    "tempfile",
    "inspect",
    "dataclasses",
    "argparse",
    "socketserver",
)


def test_the_boot_path_imports_nothing_heavy() -> None:
    code = (
        "import asyncio, msgspec, sys; before = set(sys.modules)\n"
        "import razar.projections.boot_log, razar.console, razar.metrics, razar.mission_logger\n"
        "import razar.quarantine_manager, razar.projections.recent_events, razar.state, razar.tracing\n"
        "import razar.utils.logging\n"
        "print(*(set(sys.modules) - before), sep='\\n')"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True
    )
    assert not set(run.stdout.split()) & set(HEAVY)
