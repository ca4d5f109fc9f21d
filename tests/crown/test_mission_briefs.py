"""Briefs: made from what is known, archived under names that never clash, the newest twenty kept."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from razar.crown.briefs import KEEP, archive_brief, archive_response, make_brief
from razar.crown.protocol import brief_frame, check_brief

AT = 1758412805.0
NAME = "demo_2025-09-21T00-00-05Z"


def briefs(folder: Path, mission: str = "demo") -> list[str]:
    return sorted(n for n in os.listdir(folder) if n.startswith(f"{mission}_2") and "_response" not in n)


def test_a_brief_tells_the_plan_the_last_state_and_the_open_issues() -> None:
    state = {
        "components": [
            {"id": "b", "state": "running", "error": None},
            {"id": "c", "state": "failed", "error": "exited with 3\nsecond line"},
            {"id": "gone", "state": "failed", "error": "is no longer in the plan"},
            {"id": "a", "state": "quarantined", "error": "from the state"},
        ]
    }
    quarantine = [
        {"id": "a", "detail": "gave up after 9 attempts"},
        "old",
        {"component": "x", "error": "bad"},
    ]
    assert make_brief(["b", "a", "c", "new"], state, quarantine) == {
        "priority_map": {"b": 1, "a": 2, "c": 3, "new": 4},
        "current_status": {"b": "running", "a": "quarantined", "c": "failed", "new": "pending"},
        "open_issues": [
            {"id": "a", "detail": "gave up after 9 attempts"},
            {"id": "old", "detail": "quarantined"},
            {"id": "x", "detail": "bad"},
            {"id": "c", "detail": "exited with 3 second line"},
        ],
    }


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"components": None},
        {"components": [None, 3, {"id": 7}, {"id": "a", "state": 5, "error": [1]}]},
    ],
)
def test_a_strange_state_makes_a_valid_brief(state: dict[str, Any] | None) -> None:
    brief = make_brief(["a"], state, [None, 3, {}, {"id": ["a"]}, ""])
    assert brief == {"priority_map": {"a": 1}, "current_status": {"a": "pending"}, "open_issues": []}
    assert check_brief(brief_frame(brief, mission="demo", boot_id="b", sent_at=AT)) is None


def test_a_brief_stays_within_bounds() -> None:
    brief = make_brief([], None, [{"id": f"c{i}", "detail": "d" * 10_000} for i in range(1000)])
    assert len(brief["open_issues"]) == 200
    assert {len(issue["detail"]) for issue in brief["open_issues"]} == {500}


def test_the_name_the_mode_and_the_contents(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = archive_brief(str(tmp_path / "mission_briefs"), "demo", AT, {"mission": "demo", "ü": [1]})
        response = archive_response(path, {"ack": "yes"})
    finally:
        os.umask(before)
    assert path == str(tmp_path / "mission_briefs" / f"{NAME}.json")
    assert response == str(tmp_path / "mission_briefs" / f"{NAME}_response.json")
    assert json.loads(Path(path).read_text()) == {"mission": "demo", "ü": [1]}
    assert json.loads(Path(response).read_text()) == {"ack": "yes"}
    assert {stat.S_IMODE(os.stat(p).st_mode) for p in (path, response)} == {0o640}
    assert sorted(os.listdir(tmp_path / "mission_briefs")) == [f"{NAME}.json", f"{NAME}_response.json"]


def test_the_same_second_gets_a_number(tmp_path: Path) -> None:
    """A second boot in one second does not overwrite the first one's brief, nor its response."""
    paths = [archive_brief(str(tmp_path), "demo", AT + i / 10, {"boot": i}) for i in range(3)]
    for i, path in enumerate(paths):
        archive_response(path, {"boot": i})
    assert [Path(path).name for path in paths] == [f"{NAME}.json", f"{NAME}-2.json", f"{NAME}-3.json"]
    for suffix in ("", "_response"):
        found = [json.loads(Path(p.replace(".json", f"{suffix}.json")).read_text())["boot"] for p in paths]
        assert found == [0, 1, 2]


def test_twenty_briefs_are_kept_with_their_responses(tmp_path: Path) -> None:
    for i in range(KEEP + 5):
        archive_response(archive_brief(str(tmp_path), "demo", AT + i, {"boot": i}), {"boot": i})
    kept = briefs(tmp_path)
    assert len(kept) == 20
    assert [json.loads((tmp_path / name).read_text())["boot"] for name in kept] == list(range(5, 25))
    assert sorted(os.listdir(tmp_path)) == sorted(kept + [n.replace(".json", "_response.json") for n in kept])


def test_a_tenth_in_one_second_is_newer_than_a_second(tmp_path: Path) -> None:
    for i in range(KEEP + 2):
        archive_brief(str(tmp_path), "demo", AT, {"boot": i})
    assert sorted(json.loads((tmp_path / name).read_text())["boot"] for name in briefs(tmp_path)) == [
        *range(2, 22)
    ]


def test_other_missions_and_other_files_are_left_alone(tmp_path: Path) -> None:
    """demo is a prefix of demo_2, demo-x and of a mission that looks like a time."""
    others = ["demo_2", "demo-x", "demo_2025-09-21t00-00-05z", "dem", "emo"]
    for mission in others:
        for i in range(KEEP):
            archive_brief(str(tmp_path), mission, AT + i, {})
    strangers = [
        "demo_notes.json",
        "demo_2025-09-21T00-00-05Z.json.bak",
        "demo.json",
        ".demo_x.tmp",
        "README",
    ]
    strangers += ["demo_2025-09-21T00-00-05Z_crown_router_patch.json", "demo_2025-09-21T00-00-05Z-0.json"]
    for name in strangers:
        (tmp_path / name).write_text("mine")
    before = set(os.listdir(tmp_path))
    for i in range(2 * KEEP):
        archive_brief(str(tmp_path), "demo", AT + i, {})
    assert before <= set(os.listdir(tmp_path))
    assert len(set(os.listdir(tmp_path)) - before) == KEEP


def test_the_brief_just_sent_stays_when_the_clock_was_set_back(tmp_path: Path) -> None:
    for i in range(KEEP):
        archive_brief(str(tmp_path), "demo", AT + i, {})
    path = archive_brief(str(tmp_path), "demo", AT - 86400, {})
    assert os.path.exists(path)
    assert len(os.listdir(tmp_path)) == KEEP


def test_a_brief_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "mission_briefs"
    folder.write_text("in the way")
    with pytest.raises(OSError):
        archive_brief(str(folder), "demo", AT, {})
    assert os.listdir(tmp_path) == ["mission_briefs"]
