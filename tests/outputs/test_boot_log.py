"""boot_orchestrator.log, line by line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from razar.config.model import Dependency, Restart
from razar.engine import events
from razar.engine.facts import MissionSettled, Transition
from razar.engine.state import State
from razar.projections.boot_log import BootLog
from razar.projections.wording import lines_of

from .conftest import SmallDisk
from .support import BEGAN, Story, component


def _lines(tmp_path: Path, story: Story) -> list[str]:
    path = tmp_path / "boot_orchestrator.log"
    log = BootLog(str(path), "demo")
    story.tell(log)
    log.close()
    return path.read_text(encoding="utf-8").splitlines()


def test_a_boot_that_succeeds_reads_as_promised(tmp_path: Path) -> None:
    story = Story(component("basic_service"), component("crown_router"), ignition="sequential").begin()
    story.prove("basic_service").prove("crown_router", 4.0)
    lines = _lines(tmp_path, story)
    assert [line for line in lines if ": " not in line] == [
        "[2025-09-21T00:00:00Z] INFO Booting component basic_service",
        "[2025-09-21T00:00:00Z] INFO Health check passed for basic_service",
        "[2025-09-21T00:00:00Z] INFO Booting component crown_router",
        "[2025-09-21T00:00:04Z] INFO Health check passed for crown_router",
        "[2025-09-21T00:00:04Z] INFO Mission demo complete",
    ]
    assert "[2025-09-21T00:00:00Z] INFO basic_service: started, pid 4711" in lines
    assert "[2025-09-21T00:00:00Z] INFO basic_service: healthy after 0.250 s" in lines
    assert (tmp_path / "boot_orchestrator.log").stat().st_mode & 0o777 == 0o640


def test_a_hold_is_told_with_its_end(tmp_path: Path) -> None:
    story = Story(component("a")).begin(held={"a": ("upgrade", BEGAN + 3600)})
    assert "[2025-09-21T00:00:00Z] WARN a: held: upgrade, until 2025-09-21T01:00:00Z" in _lines(
        tmp_path, story
    )


def test_a_failed_component_shows_its_error_its_last_words_and_what_follows(tmp_path: Path) -> None:
    story = Story(component("basic_service", retries=1)).begin().spawn("basic_service")
    story.exit("basic_service", 1, ("Traceback", "\x1b[31mOSError\x1b[0m: boom\x07"))
    story.timer("basic_service", "backoff", 1.0).spawn("basic_service").exit("basic_service", 2)
    assert _lines(tmp_path, story)[2:] == [
        "[2025-09-21T00:00:01Z] ERROR Health check failed for basic_service",
        "[2025-09-21T00:00:01Z] ERROR basic_service: exited with code 1 before it was healthy",
        "    | Traceback",
        "    | OSError: boom\\x07",
        "[2025-09-21T00:00:01Z] WARN basic_service: restart in 0.5 s",
        "[2025-09-21T00:00:02Z] INFO Booting component basic_service",
        "[2025-09-21T00:00:02Z] INFO basic_service: incarnation 2 (retry)",
        "[2025-09-21T00:00:02Z] INFO basic_service: started, pid 4711",
        "[2025-09-21T00:00:03Z] ERROR Health check failed for basic_service",
        "[2025-09-21T00:00:03Z] ERROR basic_service: exited with code 2 before it was healthy",
        "[2025-09-21T00:00:03Z] ERROR basic_service: quarantined",
        "[2025-09-21T00:00:03Z] ERROR Mission demo failed: "
        "basic_service is quarantined (exited with code 2 before it was healthy)",
    ]


def test_an_unhealthy_component_tells_its_error_once(tmp_path: Path) -> None:
    story = Story(component("a")).begin().prove("a")
    for _ in range(3):
        story.fail_probe("a", "HTTP 500, expected 2xx")
    story.exit("a", 0, ("bye",))
    lines = [line.partition("Z] ")[2] or line for line in _lines(tmp_path, story)]
    assert lines[lines.index("ERROR Health check failed for a") :] == [
        "ERROR Health check failed for a",
        "ERROR a: 3 health checks in a row failed: HTTP 500, expected 2xx",
        "    | bye",
        "WARN a: restart in 0.5 s",
    ]


def test_held_skipped_blocked_quarantined_failed_and_stopped_are_told(tmp_path: Path) -> None:
    story = Story(
        component("held"),
        component("skipped"),
        component("bad"),
        component("blocked", depends_on=(Dependency("bad"),)),
        component("once", restart=Restart(policy="never")),
    )
    story.begin(
        held={"held": ("upgrade", None)},
        skipped={"skipped": "when is false"},
        quarantined={"bad": "was broken"},
    )
    story.prove("once").exit("once", 5)
    story.take(events.ShutdownRequested("SIGTERM"))
    lines = [line.partition("Z] ")[2] for line in _lines(tmp_path, story)]
    assert {
        "WARN held: held: upgrade",
        "INFO skipped: skipped: when is false",
        "ERROR bad: quarantined: was broken",
        "WARN blocked: blocked: bad, which it depends on, is quarantined",
        "ERROR once: exited with code 5",
        "ERROR once: failed for good, its restart policy is never",
        "INFO held: stopped",
    } <= set(lines)
    assert lines[-1].startswith("INFO Mission demo stopped")


def test_a_repair_is_told(tmp_path: Path) -> None:
    story = Story(component("a", retries=0), repair=True).begin().spawn("a").exit("a", 1)
    story.take(events.RepairFinished("a", 1, True)).spawn("a").exit("a", 1)
    story.take(events.RepairFinished("a", 2, False, "no agent is configured"))
    lines = [line.partition("Z] ")[2] for line in _lines(tmp_path, story)]
    assert "WARN a: handed to repair" in lines
    assert "INFO a: was repaired; is started anew" in lines
    quarantined = "exited with code 1 before it was healthy; not repaired: no agent is configured"
    assert f"ERROR a: quarantined: {quarantined}" in lines


@pytest.mark.parametrize(
    "cause",
    ["boot", "spawned", "healthy", "exit", "launch", "deadline", "liveness", "retry", "operator", "shutdown"],
)
def test_no_transition_is_without_words_that_fit_on_one_line(cause: str) -> None:
    for before in get_args(State):
        for after in get_args(State):
            fact = Transition(
                component="a",
                layer="l",
                before=before,
                after=after,
                incarnation=1,
                at=1.0,
                cause=cause,
                error="first\nsecond",
                tail=("one\r\ntwo",),
            )
            lines = lines_of(fact, "demo")
            assert lines or (before, after) == ("stopping", "stopping")
            assert all(line.text.isprintable() for line in lines)


def test_no_text_of_others_can_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = BootLog(str(path), "demo")
    log.fact(
        MissionSettled(
            outcome="failed",
            reason="x\n[2025-09-21T00:00:00Z] INFO Mission demo complete",
            at=1.0,
            seconds=1.0,
        )
    )
    log.line("WARN", "a\r\n[2025-09-21T00:00:00Z] INFO Mission demo complete\u2028b", 1.0)
    log.close()
    lines = re.split(r"[\n\r\u2028]", path.read_text(encoding="utf-8").rstrip("\n"))
    assert len(lines) == 2
    assert not any(line.endswith("INFO Mission demo complete") and line.startswith("[2025") for line in lines)


def test_secrets_do_not_reach_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = BootLog(str(path), "demo")
    log.line("INFO", "GET https://admin:hunter2@host/x?api_key=abcdef123 Authorization: Bearer abcdefghijkl")
    log.close()
    text = path.read_text()
    assert "hunter2" not in text and "abcdef123" not in text and "abcdefghijkl" not in text
    assert "https://host/x?api_key=***" in text


def test_the_log_is_rotated_and_five_old_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = BootLog(str(path), "demo", rotate_at=1000)
    for number in range(300):
        log.line("INFO", f"line number {number}", 1.0)
    log.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log", *(f"log.{n}" for n in range(1, 6))]
    kept = "".join(
        (tmp_path / name).read_text() for name in ("log.5", "log.4", "log.3", "log.2", "log.1", "log")
    )
    numbers = [int(line.rpartition(" ")[2]) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 300)) and numbers[0] > 0


def test_a_full_disk_is_told_once_and_stops_nothing(small_disk: SmallDisk) -> None:
    path = small_disk.path / "log"
    told: list[str] = []
    log = BootLog(str(path), "demo", report=told.append)
    log.line("INFO", "before", 1.0)
    small_disk.fill()
    for number in range(200):
        log.line("INFO", f"{number} " + "x" * 100, 1.0)
    assert len(told) == 1
    small_disk.free()
    log.line("INFO", "after", 1.0)
    log.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 202 and lines[-1].endswith("INFO after")
