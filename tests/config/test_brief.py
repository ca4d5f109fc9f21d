"""Mission briefs: known keys have a form, others are passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from razar.config.brief import load_brief

from .support import faults_of, only_fault, write

IDS = ("crown_router", "basic_service")
BRIEF = {
    "priority_map": {"crown_router": 1, "basic_service": -5},
    "current_status": {"crown_router": "running"},
    "open_issues": ["disk is slow", {"id": "basic_service", "detail": "leaks", "since": "May"}],
    "objective": "serve",
    "anything": {"else": [1, None]},
}


def test_a_sound_brief_is_passed_on_whole(tmp_path: Path) -> None:
    assert load_brief(write(tmp_path, BRIEF), IDS) == BRIEF
    assert load_brief(write(tmp_path, {}), IDS) == {}


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = """{
 "priority_map": {"crown_ruoter": 1, "basic_service": "high"},
 "current_status": ["up"],
 "open_issues": [5, {"detail": "x"}, {"id": "basic", "detail": 5}],
 "objective": null
}"""
    faults = faults_of(lambda: load_brief(write(tmp_path, text), IDS))
    assert [(f.line, f.column, f.pointer) for f in faults] == [
        (2, 19, "/priority_map/crown_ruoter"),
        (2, 55, "/priority_map/basic_service"),
        (3, 20, "/current_status"),
        (4, 18, "/open_issues/0"),
        (4, 21, "/open_issues/1"),
        (4, 45, "/open_issues/2/id"),
        (4, 64, "/open_issues/2/detail"),
        (5, 15, "/objective"),
    ]
    assert faults[0].hint == 'did you mean "crown_router"?'


def test_ids_are_not_checked_where_they_are_not_known(tmp_path: Path) -> None:
    path = write(tmp_path, {"priority_map": {"whoever": 1}})
    assert load_brief(path)["priority_map"] == {"whoever": 1}
    assert "no component" in only_fault(lambda: load_brief(path, IDS)).found


@pytest.mark.parametrize(
    "text", ["[]", "5", "null", '"x"', "", "{", "[" * 10_000, '{"a": 1, "a": 2}', "{'a': 1}"]
)
def test_what_is_no_brief(tmp_path: Path, text: str) -> None:
    only_fault(lambda: load_brief(write(tmp_path, text), IDS))


def test_a_brief_must_fit_into_a_frame(tmp_path: Path) -> None:
    assert "bytes" in only_fault(lambda: load_brief(write(tmp_path, {"objective": "x" * 2**20}), IDS)).found


def test_no_file(tmp_path: Path) -> None:
    assert only_fault(lambda: load_brief(str(tmp_path / "x.json"), IDS)).found == "no such file"
