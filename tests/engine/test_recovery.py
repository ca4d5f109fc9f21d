"""What an earlier boot left behind, as its journal tells: nobody too few, and no stranger."""

from __future__ import annotations

from razar.engine.events import BootStarted, Event, Exited, Spawned
from razar.engine.recovery import remains, survivors


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
