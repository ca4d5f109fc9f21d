"""Who is asked next, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.razar.escalation.ladder import Block, End, Step, Wait, choose, threshold_of

KIMI = ("kimi2", "airstar", "rstar")


def asked(rungs: tuple[str, ...], count: int, **options: object) -> list[str]:
    """Who is asked, attempt by attempt; ``end`` where nobody is."""
    tried: list[str] = []
    for _ in range(count):
        step = choose(rungs, tried, **options)  # type: ignore[arg-type]
        if not isinstance(step, Step):
            return [*tried, "end"]
        tried.append(step.agent)
    return tried


@pytest.mark.parametrize(
    ("rungs", "options", "expected"),
    [
        (KIMI, {}, ["kimi2"] * 9 + ["airstar", "rstar", "end"]),
        (("opencode", "airstar"), {}, ["opencode"] * 9 + ["airstar", "end"]),
        (("kimi2",), {}, ["kimi2"] * 9 + ["end"]),
        (KIMI, {"threshold": 11}, ["kimi2"] * 11 + ["airstar", "rstar", "end"]),
        (KIMI, {"threshold": 1}, ["kimi2", "airstar", "rstar", "end"]),
        (KIMI, {"threshold": 2}, ["kimi2", "kimi2", "airstar", "rstar", "end"]),
        (KIMI, {"threshold": 0}, ["kimi2"] * 9 + ["end"]),
        (KIMI, {"threshold": 0, "attempts": 12}, ["kimi2"] * 12 + ["end"]),
        (KIMI, {"attempts": 3}, ["kimi2"] * 3 + ["end"]),
        (KIMI, {"attempts": 10}, ["kimi2"] * 9 + ["airstar", "end"]),
        (KIMI, {"attempts": 99}, ["kimi2"] * 9 + ["airstar", "rstar", "end"]),
        (KIMI, {"attempts": 0}, ["end"]),
        ((), {}, ["end"]),
        (KIMI, {"threshold": 2, "endless": True}, ["kimi2", "kimi2", "airstar", "rstar"] * 5),
        (("kimi2",), {"threshold": 2, "endless": True}, ["kimi2"] * 20),
    ],
)
def test_the_order_of_the_attempts(
    rungs: tuple[str, ...], options: dict[str, object], expected: list[str]
) -> None:
    assert asked(rungs, 20, **options) == expected


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        (["memory"] * 5 + ["kimi2"] * 8, "kimi2"),
        (["local", "memory"] + ["kimi2"] * 9, "airstar"),
        (["kimi2"] * 9 + ["memory"] * 3, "airstar"),
        (["of-long-ago"] * 9, "airstar"),
        (["kimi2"] * 4 + ["of-long-ago"] * 5, "airstar"),
        (["kimi2"] * 3 + ["airstar"], "rstar"),
        ([""] * 9, "airstar"),
    ],
)
def test_what_counts_towards_the_threshold(tried: list[str], expected: str) -> None:
    assert choose(KIMI, tried) == Step(expected)


GONE = Block("no key")
LATER = Block("no answer", 30.0)


@pytest.mark.parametrize(
    ("tried", "blocked", "expected"),
    [
        ([], {"kimi2": GONE}, Step("airstar", (("kimi2", "no key"),))),
        (
            [],
            {"kimi2": GONE, "airstar": LATER},
            Step("rstar", (("kimi2", "no key"), ("airstar", "no answer"))),
        ),
        (["kimi2"] * 3, {"kimi2": LATER}, Step("airstar", (("kimi2", "no answer"),))),
        # One that was passed over is not returned to.
        (["kimi2"] * 3 + ["airstar"], {}, Step("rstar")),
        (["kimi2"] * 9, {"airstar": GONE}, Step("rstar", (("airstar", "no key"),))),
        (
            ["kimi2"] * 9,
            {"airstar": GONE, "rstar": GONE},
            End("no agent is left that can be asked; airstar: no key"),
        ),
        ([], dict.fromkeys(KIMI, GONE), End("no agent is left that can be asked; kimi2: no key")),
        ([], dict.fromkeys(KIMI, LATER), Wait(30.0, "kimi2: no answer")),
        ([], {"kimi2": GONE, "airstar": LATER, "rstar": Block("busy", 7.0)}, Wait(7.0, "kimi2: no key")),
    ],
)
def test_agents_that_cannot_be_asked(tried: list[str], blocked: dict[str, Block], expected: object) -> None:
    assert choose(KIMI, tried, blocked=blocked) == expected


def test_the_end_says_how_many_attempts_were_made() -> None:
    end = choose(KIMI, ["kimi2"] * 9 + ["airstar", "rstar"])
    assert end == End("11 of 11 attempts were made and none helped")
    after_a_jump = choose(KIMI, ["kimi2", "airstar", "rstar"])
    assert after_a_jump == End("every agent was asked (kimi2, airstar, rstar) and none helped")


@pytest.mark.parametrize(
    ("text", "expected"), [("", 9), ("  ", 9), ("11", 11), ("0", 0), ("1", 1), ("99999", 99999)]
)
def test_the_threshold_comes_from_the_environment(text: str, expected: int) -> None:
    assert threshold_of({"RAZAR_RSTAR_THRESHOLD": text}) == (expected, None)
    assert threshold_of({}) == (9, None)


@pytest.mark.parametrize("text", ["nine", "-1", "1.5", "1e3", "9" * 5000, "\u0663"])
def test_a_threshold_that_is_none_is_told(text: str) -> None:
    value, problem = threshold_of({"RAZAR_RSTAR_THRESHOLD": text})
    assert value == 9 and problem is not None and "whole number" in problem and text not in problem


@given(
    rungs=st.lists(st.sampled_from("abcde"), unique=True, max_size=5),
    tried=st.lists(st.sampled_from(["a", "b", "c", "d", "e", "memory", "local", "gone"]), max_size=40),
    threshold=st.integers(0, 12),
    attempts=st.none() | st.integers(0, 30),
    blocked=st.dictionaries(
        st.sampled_from("abcde"), st.builds(Block, st.just("why"), st.none() | st.floats(1, 600)), max_size=5
    ),
    endless=st.booleans(),
)
def test_whatever_was_tried_the_rules_hold(
    rungs: list[str],
    tried: list[str],
    threshold: int,
    attempts: int | None,
    blocked: dict[str, Block],
    endless: bool,
) -> None:
    step = choose(rungs, tried, threshold=threshold, attempts=attempts, blocked=blocked, endless=endless)
    made = [name for name in tried if name not in ("memory", "local")]
    match step:
        case Step(agent, skipped):
            assert agent in (rungs if threshold else rungs[:1]) and agent not in blocked
            assert all(name in blocked and why == "why" for name, why in skipped)
            if not endless:
                assert attempts is None or len(made) < attempts
                known = [name for name in made if name in (rungs if threshold else rungs[:1])]
                assert not known or rungs.index(agent) >= rungs.index(known[-1])
        case Wait(seconds, _):
            assert min(block.seconds for block in blocked.values() if block.seconds is not None) <= seconds
        case End(reason):
            assert reason
            if endless and rungs:
                assert all(name in blocked for name in (rungs if threshold else rungs[:1]))


@given(
    rungs=st.lists(st.sampled_from("abcde"), unique=True, min_size=1, max_size=5),
    threshold=st.integers(0, 12),
    attempts=st.none() | st.integers(0, 30),
)
def test_every_ladder_has_an_end(rungs: list[str], threshold: int, attempts: int | None) -> None:
    order = asked(tuple(rungs), 60, threshold=threshold, attempts=attempts)
    assert order[-1] == "end" and len(order) <= 43
    assert [name for name in rungs if name in order] == list(dict.fromkeys(order[:-1]))
