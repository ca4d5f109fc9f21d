"""What an earlier boot left behind, as its journal tells: nobody too few, and no stranger."""

from __future__ import annotations

from pathlib import Path

from razar.engine.events import BootStarted, Event, Exited, Spawned
from razar.engine.recovery import remains, survivors
from razar.engine.state import MissionState
from razar.mission_logger import Journal, read


def test_who_was_started_and_not_seen_to_end() -> None:
    tape: list[Event] = [
        BootStarted("one", "demo", "machine"),
        Spawned("a", 1, 10, 100, "one-a"),
        Spawned("b", 1, 11, 101, "one-b"),
        Exited("a", 1, 0),
        Spawned("a", 2, 12, 102, "one-c"),
    ]
    assert [event.pid for event in survivors(tape, "machine")] == [11, 12]


def test_after_a_reboot_of_the_machine_pids_mean_nothing() -> None:
    tape: list[Event] = [BootStarted("one", "demo", "before"), Spawned("a", 1, 10, 100, "one-a")]
    found = remains(tape, "now")
    assert (list(found.spawned), found.boots) == ([], frozenset())


def test_a_boot_after_a_kill_does_not_forget_the_one_before() -> None:
    """Two supervisors were killed one after the other; both have left somebody."""
    tape: list[Event] = [
        BootStarted("one", "demo", "machine"),
        Spawned("a", 1, 10, 100, "one-a"),
        BootStarted("two", "demo", "machine"),
        Spawned("a", 1, 20, 200, "two-a"),
    ]
    found = remains(tape, "machine")
    assert [event.pid for event in found.spawned] == [10, 20]
    assert found.boots == {"one", "two"}


def test_a_journal_that_was_continued_in_a_new_file_still_tells_whose_processes_there_are(
    tmp_path: Path,
) -> None:
    """The starts are in older files by then; every process carries the id of its boot."""
    path = str(tmp_path / "razar_journal.jsonl")
    journal = Journal(path, segment=600, checkpoint=lambda: MissionState(mission="demo"))
    journal.append(BootStarted("one", "demo", "machine"), 1.0)
    for number in range(40):
        journal.append(Spawned("a", number, 10, 100), 2.0)
    journal.close()
    records, problems = read(path)
    assert records[0].state is not None and records[0].seq > 1 and not problems
    assert remains([r.event for r in records if r.event is not None], "machine").boots == {"one"}


def test_an_end_in_a_later_boot_is_not_the_end_of_an_earlier_one() -> None:
    """Incarnations of two boots have the same numbers."""
    tape: list[Event] = [
        BootStarted("one", "demo", "machine"),
        Spawned("a", 1, 10, 100, "one-a"),
        BootStarted("two", "demo", "machine"),
        Spawned("a", 1, 20, 200, "two-a"),
        Exited("a", 1, 0),
    ]
    assert [event.pid for event in survivors(tape, "machine")] == [10]
