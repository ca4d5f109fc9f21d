"""What each answer without success means for the ladder, from real answers of a real server."""

from __future__ import annotations

from typing import Any

import pytest

from agents.razar import errors
from agents.razar.ai_invoker import _invoke_kimi2
from agents.razar.web.error_table import LONGEST_WAIT
from tests.agents.server import answering, http, serving

KEY = "k-errors-0123456789"


def failure(body: Any, status: int, **headers: Any) -> errors.AgentError:
    with (
        serving(answering(http(body, status, **headers))) as server,
        pytest.raises(errors.AgentError) as caught,
    ):
        _invoke_kimi2("Kimi2", server.url(), {"model": "m"}, KEY)
    assert caught.value.status == status
    assert KEY not in str(caught.value)
    return caught.value


def typed(type_: str, message: str = "no") -> dict[str, Any]:
    return {"error": {"type": type_, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "next_step"),
    [
        (400, typed("content_filter"), errors.ContentFilteredError, False, "next_agent"),
        (
            400,
            typed("invalid_request_error", "invalid temperature"),
            errors.RequestRefusedError,
            False,
            "next_agent",
        ),
        (
            400,
            typed("invalid_request_error", "Your request exceeded model token limit: 262144"),
            errors.TooLongError,
            False,
            "shorten",
        ),
        (413, "too big", errors.TooLongError, False, "shorten"),
        (401, typed("invalid_authentication_error"), errors.AuthenticationError, False, "operator"),
        (402, typed("payment"), errors.QuotaError, False, "open_breaker"),
        (403, typed("permission_denied_error"), errors.ForbiddenError, False, "operator"),
        (404, typed("resource_not_found_error"), errors.UnknownModelError, False, "operator"),
        (429, typed("rate_limit_reached_error"), errors.RateLimitError, True, "wait"),
        (429, typed("engine_overloaded_error"), errors.OverloadedError, True, "back_off"),
        (429, typed("exceeded_current_quota_error"), errors.QuotaError, False, "open_breaker"),
        (
            429,
            {"error": {"code": "insufficient_quota", "message": ""}},
            errors.QuotaError,
            False,
            "open_breaker",
        ),
        (
            429,
            {"detail": "Your account is suspended, check your plan"},
            errors.QuotaError,
            False,
            "open_breaker",
        ),
        (429, "slow down", errors.RateLimitError, True, "wait"),
        (405, "", errors.RequestRefusedError, False, "next_agent"),
        (418, "[]", errors.RequestRefusedError, False, "next_agent"),
        (500, typed("server_error"), errors.ServerError, True, "back_off"),
        (501, "", errors.RequestRefusedError, False, "next_agent"),
        (502, "<html>Bad Gateway", errors.ServerError, True, "back_off"),
        (503, "", errors.OverloadedError, True, "back_off"),
        (504, b"\xff\xfe", errors.ServerError, True, "back_off"),
    ],
)
def test_the_table(
    status: int, body: Any, kind: type[errors.AgentError], retryable: bool, next_step: str
) -> None:
    error = failure(body, status)
    assert (type(error), error.retryable, error.next_step) == (kind, retryable, next_step)
    assert f"HTTP {status}" in str(error)


def test_what_the_service_says_is_passed_on_without_control_characters_and_keys() -> None:
    error = failure(typed("bad\x1b[31m", f"\x1b]0;owned\x07no {KEY}\nand " + "x" * 5000), 400)
    assert str(error).isprintable() and "no [key withheld]" in str(error) and len(str(error)) < 600
    assert error.code == "bad"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "99999999"}, LONGEST_WAIT),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"Retry-After": "Fri, 31 Dec 2199 23:59:59 GMT"}, LONGEST_WAIT),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "3.5"}, 3.5),
        ({"X-RateLimit-Reset": "1758412805"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
)
def test_the_time_to_wait_is_bounded(headers: dict[str, str], expected: float | None) -> None:
    names = {name.replace("-", "_"): value for name, value in headers.items()}
    assert failure(typed("rate_limit_reached_error"), 429, **names).retry_after == expected


def test_a_used_up_balance_has_no_time_after_which_to_try_again() -> None:
    assert failure(typed("exceeded_current_quota_error"), 429, Retry_After="1").retry_after is None
