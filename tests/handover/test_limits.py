"""Budgets, breakers, the storm brake and the pace, at instants that the tests give."""

from __future__ import annotations

import pytest

from agents.razar.errors import (
    AgentError,
    AuthenticationError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    UnreachableError,
)
from agents.razar.escalation.breaker import Breakers
from agents.razar.escalation.budgets import Budget, Limits, limits_of, tokens_in
from agents.razar.escalation.pacing import pause_after
from agents.razar.escalation.storm import Storm, StormLimits

HERE = "https://agent.example/v1"


def test_requests_are_counted_before_they_are_made() -> None:
    budget = Budget(Limits(requests=2))
    budget.begin(10)
    assert budget.spent() is None
    budget.begin(10)
    # Neither has returned, and there is no third.
    assert "2 requests" in (budget.spent() or "")


def test_an_agent_that_counts_itself_short_is_not_believed() -> None:
    budget = Budget(Limits(tokens=1000))
    receipt = budget.begin(600)
    budget.end(receipt, 1.0, requests=0, tokens=1)
    assert budget.tokens == 600 and budget.requests == 1
    assert budget.spent(400) is None
    assert "tokens" in (budget.spent(401) or "")


def test_what_an_agent_says_it_used_beyond_that_counts() -> None:
    budget = Budget(Limits())
    budget.end(budget.begin(100), 2.5, requests=4, tokens=5000)
    assert (budget.requests, budget.tokens, budget.seconds) == (4, 5000, 2.5)
    assert budget.report()["used"] == {"requests": 4, "tokens": 5000, "seconds": 2.5}


def test_a_receipt_is_good_for_one_call() -> None:
    budget = Budget(Limits(seconds=10.0))
    receipt = budget.begin(1)
    budget.end(receipt, 6.0)
    budget.end(receipt, 6.0)
    assert budget.seconds_left() == 4.0
    budget.end(budget.begin(1), 6.0)
    assert budget.seconds_left() == 0.0 and "10 s" in (budget.spent() or "")


def test_settings_win_over_the_defaults() -> None:
    assert limits_of({}) == Limits()
    assert limits_of({"requests": 3, "seconds": 1.5}) == Limits(requests=3, seconds=1.5)
    assert limits_of({"requests": 0}).requests == 0 and "0 requests" in (
        Budget(Limits(requests=0)).spent() or ""
    )
    assert limits_of({"concurrent": 0}).concurrent == 1


def test_the_estimate_of_tokens_is_on_the_high_side() -> None:
    assert tokens_in("word " * 300) > 300


@pytest.mark.parametrize("error", [QuotaError("balance is used up"), AuthenticationError("wrong key")])
def test_what_only_an_operator_can_change_opens_for_good(error: AgentError) -> None:
    breakers = Breakers()
    breakers.failed(HERE, error, 100.0)
    block = breakers.block(HERE, 1e9)
    assert block is not None and block.seconds is None and str(error) in block.reason
    assert breakers.block("https://other.example", 100.0) is None
    breakers.resume(99.0)
    assert breakers.block(HERE, 1e9) is not None
    breakers.resume(100.0)
    assert breakers.block(HERE, 1e9) is None


def test_failures_in_a_row_open_for_a_while_and_then_for_longer() -> None:
    breakers = Breakers(failures=3, cool_down=60.0)
    for at in (1.0, 2.0):
        breakers.failed(HERE, UnreachableError("nobody listens"), at)
        assert breakers.block(HERE, at) is None
    breakers.failed(HERE, UnreachableError("nobody listens"), 3.0)
    block = breakers.block(HERE, 10.0)
    assert block is not None and block.seconds == 53.0 and "3 failures in a row" in block.reason
    assert breakers.block(HERE, 63.0) is None
    breakers.failed(HERE, UnreachableError("still not"), 64.0)
    again = breakers.block(HERE, 64.0)
    assert again is not None and again.seconds == 120.0
    for at in range(100):
        breakers.failed(HERE, UnreachableError("never"), 1000.0 + at)
    longest = breakers.block(HERE, 1099.0)
    assert longest is not None and longest.seconds == 600.0


def test_an_answer_closes_it_again() -> None:
    breakers = Breakers(failures=1)
    breakers.failed(HERE, OverloadedError("full"), 1.0)
    breakers.succeeded(HERE)
    assert breakers.block(HERE, 1.0) is None and breakers.not_before(HERE, 1.0) == 0.0


def test_what_a_service_asks_to_wait_is_for_everybody_and_bounded() -> None:
    breakers = Breakers()
    breakers.failed(HERE, RateLimitError("slowly", retry_after=20.0), 100.0)
    assert breakers.block(HERE, 100.0) is None
    assert breakers.not_before(HERE, 105.0) == 15.0 and breakers.not_before(HERE, 130.0) == 0.0
    breakers.failed(HERE, RateLimitError("slowly", retry_after=1e9), 100.0)
    assert breakers.not_before(HERE, 100.0) == 600.0


def test_a_failure_that_is_told_of_again_is_still_one() -> None:
    storm = Storm(5)
    for at in (1.0, 100.0, 200.0, 300.0):
        assert not storm.note(f"failed at {at}", at)
        # Further attempts to repair the first ones.
        assert not any(storm.note(f"failed at {before}", before) for before in (1.0, 100.0, 200.0))
    assert not storm.note("another", 301.0)


def test_one_component_that_fails_often_is_no_storm() -> None:
    storm = Storm(8)
    assert not any(storm.note("a", at) for at in range(100))


def test_many_components_at_once_are_a_storm() -> None:
    storm = Storm(8, StormLimits(cool_down=120.0))
    assert [storm.note(id, 10.0 + n) for n, id in enumerate("abcde")] == [False] * 4 + [True]
    seconds, why = storm.over_in(20.0)
    assert seconds == 114.0 and why.startswith("5 of 8 components failed within 30 s (a, b, c, d, e)")
    assert storm.over_in(134.0) == (0.0, "")
    # While it lasts it is told once.
    assert not any(storm.note(id, 20.0) for id in "abcdefgh")


@pytest.mark.parametrize(
    ("total", "failed", "apart"), [(4, "abcd", 1.0), (10, "abcde", 1.0), (8, "abcdefgh", 31.0)]
)
def test_few_components_less_than_half_or_over_time_are_no_storm(
    total: int, failed: str, apart: float
) -> None:
    storm = Storm(total)
    assert not any(storm.note(id, n * apart) for n, id in enumerate(failed))


@pytest.mark.parametrize(
    ("failures", "expected"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (10_000, 60.0)]
)
def test_the_pause_doubles_up_to_a_minute(failures: int, expected: float) -> None:
    assert pause_after(failures, None, lambda: 0.5) == expected
    for chance in (0.0, 0.999):
        assert (
            0.9 * expected
            <= pause_after(failures, None, lambda chance=chance: chance)
            <= min(60.0, 1.1 * expected)
        )  # type: ignore[misc]


def test_what_a_service_asks_to_wait_is_respected_within_bounds() -> None:
    def asked(seconds: float | None) -> float:
        return pause_after(1, RateLimitError("slowly", retry_after=seconds), lambda: 0.5)

    assert asked(None) == 1.0 and asked(0.1) == 1.0 and asked(90.0) == 90.0 and asked(1e9) == 600.0
    assert pause_after(1, RequestRefusedError("no"), lambda: 0.5) == 1.0
