"""What an answer means: yes only if it says so, and downtime only for what is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from razar.crown.judgement import has_capability, is_negative, judge
from razar.crown.protocol import MAX_FRAME, FrameError, brief_frame, check_brief, decode, decode_brief, encode
from razar.crown.result import Downtime, Handshake, clean, parse_until
from tests.crown.support import BRIEF, COMPONENTS, YES

NOW = 1758412805.0


def verdict(answer: dict[str, Any]) -> Handshake:
    return judge(answer, known=COMPONENTS, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "No.",
        "NACK",
        "nack: busy",
        "refused",
        "Mission REJECTED",
        "false",
        "0",
        "denied",
        "access denied",
        "not accepted",
        "I cannot",
        "can't",
        "can’t",
        "declined",
        "forbidden",
        "unauthorized",
        "ack: no",
        "never",
        "",
        "  ",
        "...",
        "null",
        "none",
        "error: database is down",
        "aborted",
        "ｎｏ",
        "n\u200bo",
        "unavailable",
        "accepted, but not before noon",
        "refusing",
        "n\x00o",
        "offline",
    ],
)
def test_words_of_refusal(text: str) -> None:
    assert is_negative(text)
    assert verdict({"ack": text}).status == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "ack",
        "ok",
        "yes",
        "true",
        "1",
        "Mission accepted",
        "acknowledged",
        "accepted, no downtime",
        "roger",
        "notified the crew",
        "принято",
        "CROWN-IDENTITY-ACK",
        "noted",
        "nominal",
    ],
)
def test_words_of_agreement(text: str) -> None:
    outcome = verdict({"ack": text})
    assert (outcome.status, outcome.acknowledgement, outcome.reason) == ("ack", text, None)


def test_true_is_an_acknowledgement() -> None:
    assert verdict({"ack": True}).accepted


def test_the_full_form() -> None:
    outcome = verdict(YES | {"downtime": {"crown_router": {"reason": "upgrade", "until": NOW + 60}}})
    assert outcome == Handshake(
        status="ack",
        crown_version="1.4",
        acknowledgement="mission accepted",
        capabilities=("GLM-4.1V",),
        downtime={"crown_router": Downtime(reason="upgrade", until=NOW + 60)},
    )


def test_the_full_form_needs_no_words() -> None:
    assert verdict({"type": "ack", "status": "ack"}).accepted


@pytest.mark.parametrize("ack", ["no", "NACK", "refused", "denied!", False])
def test_a_contradiction_is_a_refusal(ack: object) -> None:
    outcome = verdict(YES | {"ack": ack})
    assert outcome.status == "refused"
    assert "contradicts itself" in str(outcome.reason)


def test_a_plain_answer_with_a_refusing_status_is_a_refusal() -> None:
    assert verdict({"ack": "come back tomorrow", "status": "refused"}).status == "refused"
    assert verdict({"ack": "welcome", "status": "maybe"}).status == "refused"


@pytest.mark.parametrize(
    "change",
    [
        {"capabilities": {"GLM": 1}},
        {"capabilities": [""]},
        {"capabilities": ["\x07\x1b"]},
        {"capabilities": ["x" * 129]},
        {"capabilities": [f"m{i}" for i in range(257)]},
        {"crown_version": 1.4},
        {"downtime": {"crown_router": None}},
        {"downtime": {"crown_router": "upgrade"}},
        {"downtime": {"crown_router": {"until": "soon"}}},
        {"downtime": {"crown_router": {"until": True}}},
        {"downtime": {"crown_router": {"until": 1e300}}},
        {"downtime": {"crown_router": {"until": -1}}},
        {"downtime": {"crown_router": {"patch": ["x"]}}},
        {"downtime": {"crown_router": {"patch": {"diff": "x" * (1 << 16)}}}},
        {"downtime": {id: {"patch": {"diff": "x" * (1 << 15)}} for id in COMPONENTS}},
        {"downtime": {"../../x": {}}},
        {"downtime": {"": {}}},
        {"downtime": {"crown_router\n": {}}},
        {"downtime": {"Crown_Router": {}}},
        {"downtime": {"x" * 64: {}}},
        {"downtime": {f"c{i}": {} for i in range(4097)}},
    ],
)
def test_one_fault_makes_the_whole_answer_a_refusal(change: dict[str, Any]) -> None:
    outcome = verdict(YES | change)
    assert outcome.status == "refused"
    assert str(outcome.reason).startswith("Crown's answer is malformed: ")
    assert outcome.downtime == {} and outcome.capabilities == ()


def test_a_bad_entry_spoils_the_good_one_beside_it() -> None:
    entries = {"crown_router": {"reason": "upgrade"}, "../../x": {"reason": "gotcha"}}
    assert verdict(YES | {"downtime": entries}).downtime == {}


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2025-09-21T01:00:05Z", 1758416405.0),
        ("2025-09-21T01:00:05", 1758416405.0),
        ("2025-09-21T03:00:05+02:00", 1758416405.0),
        (1758416405, 1758416405.0),
        (1758416405.25, 1758416405.25),
        (None, None),
    ],
)
def test_forms_of_until(until: object, expected: float | None) -> None:
    outcome = verdict(YES | {"downtime": {"crown_router": {"reason": "upgrade", "until": until}}})
    assert outcome.downtime == {"crown_router": Downtime(reason="upgrade", until=expected)}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:00"]
)
def test_an_instant_outside_the_calendar_is_no_instant(value: str | float) -> None:
    with pytest.raises(ValueError):
        parse_until(value)


def test_downtime_that_is_over_holds_nothing() -> None:
    outcome = verdict(YES | {"downtime": {"crown_router": {"reason": "upgrade", "until": NOW - 1}}})
    assert outcome.accepted and outcome.downtime == {}
    assert outcome.warnings == ("downtime of crown_router ended at 2025-09-21T00:00:04Z: it is not held",)


def test_downtime_of_a_stranger_is_told_and_ignored() -> None:
    entries: dict[str, Any] = {f"stranger_{i}": {} for i in range(7)} | {"crown_router": {}}
    outcome = verdict(YES | {"downtime": entries})
    assert list(outcome.downtime) == ["crown_router"]
    assert outcome.warnings == (
        "Crown announced downtime for what is not in this mission: "
        "stranger_0, stranger_1, stranger_2, stranger_3, stranger_4 and 2 more",
    )


def test_a_patch_is_recorded_and_said_not_to_be_applied() -> None:
    patch = {"description": "fix", "diff": "--- a\n+++ b\n"}
    outcome = verdict(YES | {"downtime": {"crown_router": {"reason": "r", "patch": patch}}})
    assert outcome.downtime["crown_router"].patch == patch
    assert outcome.warnings == ("Crown sent a patch for crown_router: it is recorded, not applied",)
    assert outcome.to_state()["downtime"] == {"crown_router": {"reason": "r", "until": None, "patch": patch}}


def test_what_crown_says_cannot_write_to_a_terminal() -> None:
    nasty = "ok\x1b[2J\r\n[2025] ERROR forged \u202eline\x9b31m"
    outcome = verdict(YES | {"ack": nasty, "crown_version": "1\x1b]0;x\x07", "capabilities": ["a\nb"]})
    shown = json.dumps(outcome.to_state(), ensure_ascii=False)
    assert shown.isprintable() and "\\" not in shown
    assert outcome.capabilities == ("a b",)


def test_long_words_are_cut() -> None:
    outcome = verdict(YES | {"ack": "yes " * 100_000, "crown_version": "1" * 1000})
    assert len(outcome.acknowledgement) == 500 and len(outcome.crown_version) == 64
    assert clean("abc", 3) == "abc" and clean("abcd", 3) == "ab…"


def test_the_state_file_form() -> None:
    downtime = {"crown_router": {"reason": "upgrade", "until": "2025-09-21T01:00:05Z"}}
    assert verdict(YES | {"downtime": downtime}).to_state() == {
        "status": "ack",
        "crown_version": "1.4",
        "acknowledgement": "mission accepted",
        "capabilities": ["GLM-4.1V"],
        "downtime": downtime,
    }
    assert verdict({"ack": "no"}).to_state()["reason"] == "Crown did not acknowledge the mission: no"


@pytest.mark.parametrize(
    "name", ["GLM-4.1V", "glm-4.1v-9b-thinking", "GLM 4_1V", "glm41v", "GLM-4.1V\tFlash"]
)
def test_names_that_mean_the_model(name: str) -> None:
    assert has_capability(["other", name], "GLM-4.1V")


@pytest.mark.parametrize("name", ["GLM-4V", "GLM-4.5V", "GLM-4.1", "my-GLM-4.1V", "", "GLM4V_OFFLINE"])
def test_names_that_do_not(name: str) -> None:
    assert not has_capability([name], "GLM-4.1V")
    assert not has_capability([name], "-._ ")


def test_the_envelope_wins_over_the_brief() -> None:
    forged = BRIEF | {
        "type": "ack",
        "version": 9,
        "mission": "other",
        "boot_id": "x",
        "sent_at": "never",
        "extra": [1],
    }
    frame = brief_frame(forged, mission="demo", boot_id="boot-1", sent_at=NOW)
    envelope = {"type": "mission_brief", "version": 1, "mission": "demo", "boot_id": "boot-1"}
    assert frame == envelope | {"sent_at": "2025-09-21T00:00:05Z"} | BRIEF | {"extra": [1]}
    assert check_brief(frame) is None
    assert decode_brief(encode(frame).decode()).mission == "demo"


def test_an_empty_brief_gets_the_keys_every_brief_has() -> None:
    frame = brief_frame({}, mission="demo", boot_id="b", sent_at=NOW)
    assert (frame["priority_map"], frame["current_status"], frame["open_issues"]) == ({}, {}, [])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"version": 2}, "version: invalid enum value 2"),
        ({"type": "ack"}, "type: invalid value 'ack'"),
        ({"mission": "../x"}, "mission: expected text matching"),
        ({"priority_map": {"a": "high"}}, "priority_map[...]: expected a whole number, got text"),
        ({"current_status": ["running"]}, "current_status: expected an object, got a list"),
        ({"open_issues": [{"detail": "no id"}]}, "open_issues[0]: object missing required field id"),
        ({"objective": 3}, "objective: expected text or null, got a whole number"),
    ],
)
def test_a_wrong_brief_is_told_in_plain_words(change: dict[str, Any], fault: str) -> None:
    frame = brief_frame(BRIEF, mission="demo", boot_id="b", sent_at=NOW) | change
    assert str(check_brief(frame)).startswith(fault)
    with pytest.raises(FrameError, match="^" + fault.split(":")[0].replace("[", r"\[").replace(".", r"\.")):
        decode_brief(json.dumps(frame))


def test_a_frame_above_the_limit_is_not_encoded() -> None:
    with pytest.raises(FrameError, match="1,048,576"):
        encode({"notes": "n" * MAX_FRAME})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["type", "status", "ack", "capabilities", "downtime", "crown_version"])
WORDS = st.sampled_from(["ack", "refused", "no", "yes", "", "GLM-4.1V"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS | st.text(max_size=6), JSON | WORDS | st.lists(WORDS, max_size=3), max_size=6))
def test_no_answer_raises_and_none_is_a_yes_by_accident(answer: dict[str, Any]) -> None:
    outcome = verdict(answer)
    assert outcome.status in ("ack", "refused")
    assert outcome.accepted == (outcome.reason is None)
    json.dumps(outcome.to_state())
    if outcome.accepted:
        said = answer.get("ack")
        full = answer.get("type") == "ack" and answer.get("status") == "ack"
        assert full or said is True or (isinstance(said, str) and not is_negative(said))


@settings(max_examples=150, deadline=None)
@given(st.text() | JSON.map(json.dumps) | st.binary())
def test_no_frame_raises_anything_but_its_fault(raw: str | bytes) -> None:
    try:
        assert isinstance(decode(raw), dict)
    except FrameError as fault:
        assert str(fault).isprintable()
