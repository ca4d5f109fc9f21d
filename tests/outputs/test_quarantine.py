"""The store of who is in quarantine, and the table for people."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from razar.quarantine_manager import Entry, QuarantineManager, definition_digest

from .conftest import SmallDisk
from .support import BEGAN, component

FIX = "Install missing packages or verify the environment."


class Place:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)
        self.told: list[str] = []

    def manager(self) -> QuarantineManager:
        return QuarantineManager(str(self.root), str(self.logs), report=self.told.append)

    @property
    def log(self) -> list[str]:
        return (self.root / "docs" / "quarantine_log.md").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_row_as_promised_under_a_header_in_a_new_file(place: Place) -> None:
    place.manager().quarantine("basic_service", "boom", "dependency", FIX, "d1", BEGAN + 1)
    assert place.log == [
        "# Quarantine log",
        "",
        "| time | component | class | remediation |",
        "| --- | --- | --- | --- |",
        f"| 2025-09-21T00:00:01Z | basic_service | dependency | {FIX} |",
    ]


def test_it_outlives_the_boot(place: Place) -> None:
    place.manager().quarantine("a", "boom", "port", "Free it.", "d1", BEGAN)
    later = place.manager()
    assert later.current() == {
        "a": Entry(error="boom", issue_class="port", remediation="Free it.", digest="d1", since=BEGAN)
    }
    assert later.is_quarantined("a") and not later.is_quarantined("b")
    store = place.logs / "razar_quarantine.json"
    assert json.loads(store.read_text())["schema"] == 1 and store.stat().st_mode & 0o777 == 0o640


def test_a_release_is_a_row_too(place: Place) -> None:
    manager = place.manager()
    manager.quarantine("a", "boom", "port", "Free it.", "d1", BEGAN)
    assert manager.release("a", "port 80 | freed", BEGAN + 60)
    assert not manager.release("a", "again")
    assert place.log[-1] == "| 2025-09-21T00:01:00Z | a | released | port 80 \\| freed |"
    assert place.manager().current() == {} and len(place.log) == 6


def test_asking_changes_nothing_on_the_disk(place: Place) -> None:
    manager = place.manager()
    assert manager.current() == {} and not manager.is_quarantined("a") and manager.reconcile({"a": "d"}) == []
    assert os.listdir(place.root) == ["logs"] and os.listdir(place.logs) == []


def test_a_changed_definition_is_released_and_told(place: Place) -> None:
    for id in ("same", "changed", "gone"):
        place.manager().quarantine(id, "boom", "logic", "Fix.", f"digest of {id}", BEGAN)
    manager = place.manager()
    assert manager.reconcile({"same": "digest of same", "changed": "another", "new": "x"}, BEGAN) == [
        "changed"
    ]
    assert list(place.manager().current()) == ["same", "gone"]
    assert place.told == ["changed is released from quarantine: its definition has changed"]
    assert place.log[-1] == "| 2025-09-21T00:00:00Z | changed | released | its definition has changed |"


def test_the_digest_is_that_of_the_definition() -> None:
    one = component("a", env={"X": "1", "Y": "2"})
    assert definition_digest(one) == definition_digest(component("a", env={"Y": "2", "X": "1"}))
    assert definition_digest(one) != definition_digest(component("a", env={"X": "1", "Y": "3"}))
    assert definition_digest(one) != definition_digest(component("a", argv=("false",), env=one.env))


def test_no_text_can_break_the_table(place: Place) -> None:
    note = "a | b\n| forged | row | x | y |\r\x1b[31m<script>\\| \u2028"
    manager = place.manager()
    manager.quarantine("a", "boom", "unknown", note, "d", BEGAN)
    (row,) = place.log[4:]
    assert row == (
        "| 2025-09-21T00:00:00Z | a | unknown | "
        "a \\| b\\\\n\\| forged \\| row \\| x \\| y \\|\\\\r&lt;script>\\\\\\| \\\\u2028 |"
    )


@pytest.mark.parametrize(
    ("before", "header_again"),
    [
        ("# Ours\n\nSome prose.\n", True),
        ("| time | component | class | remediation |\n|---|---|---|---|\n| x | y | z | w |", False),
        ("| a | b |\n| --- | --- |\n| 1 | 2 |\n\nProse after it.", True),
    ],
    ids=["prose", "table without a last newline", "prose after a table"],
)
def test_a_row_always_belongs_to_a_table(place: Place, before: str, header_again: bool) -> None:
    (place.root / "docs").mkdir()
    (place.root / "docs" / "quarantine_log.md").write_text(before)
    place.manager().quarantine("a", "boom", "port", "Free it.", "d", BEGAN)
    text = "\n".join(place.log)
    assert text.startswith(before)
    assert place.log[-1].endswith("| a | port | Free it. |")
    assert (
        place.log[-4:-1] == ["", "| time | component | class | remediation |", "| --- | --- | --- | --- |"]
    ) is (header_again)
    assert place.log[-2].startswith("|")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"schema":1,"components":{"a":1}}', b'{"schema":9,"components":{}}', b"[" * 10**6],
)
def test_a_damaged_store_is_told_and_set_aside_when_there_is_something_to_write(
    place: Place, content: bytes
) -> None:
    store = place.logs / "razar_quarantine.json"
    store.write_bytes(content)
    manager = place.manager()
    assert manager.current() == {} and manager.current() == {}
    assert len(place.told) == 1 and str(store) in place.told[0]
    assert os.listdir(place.logs) == ["razar_quarantine.json"] and store.read_bytes() == content
    manager.quarantine("a", "boom", "port", "Free it.", "d", BEGAN)
    assert list(place.manager().current()) == ["a"]
    (aside,) = [name for name in os.listdir(place.logs) if "corrupt" in name]
    assert (place.logs / aside).read_bytes() == content


def test_a_full_disk_is_told_and_the_decision_holds(small_disk: SmallDisk) -> None:
    place = Place(small_disk.path)
    manager = place.manager()
    manager.quarantine("a", "boom", "port", "Free it.", "d", BEGAN)
    small_disk.fill()
    manager.quarantine("b", "x" * 3900, "port", "y" * 3900, "d", BEGAN)
    assert manager.is_quarantined("b")
    assert any("No space left on device" in message for message in place.told)
    assert list(place.manager().current()) == ["a"]
    small_disk.free()
    manager.quarantine("c", "boom", "port", "Free it.", "d", BEGAN)
    assert list(place.manager().current()) == ["a", "b", "c"]


def test_a_read_only_mission_folder_is_told(place: Place) -> None:
    (place.root / "docs").write_text("a file where the folder should be")
    place.manager().quarantine("a", "boom", "port", "Free it.", "d", BEGAN)
    assert len(place.told) == 1 and "quarantine_log.md cannot be written" in place.told[0]
    assert place.manager().is_quarantined("a")


def test_a_pipe_in_the_place_of_the_log_is_told_and_hangs_nobody(place: Place) -> None:
    (place.root / "docs").mkdir()
    os.mkfifo(place.root / "docs" / "quarantine_log.md")
    place.manager().quarantine("a", "boom", "port", "Free it.", "d", BEGAN)
    assert place.told == [f"{place.root}/docs/quarantine_log.md cannot be written: not a regular file"]
    assert place.manager().is_quarantined("a")
