"""Routing without a server: configuration, policies, rules, and the answer's envelope."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import neoabzu_crown as crown
from tests.gateway.support import Servant, fails, says, servant
from tests.support.limited import DOUBLED, run_limited
from tests.support.ports import free_port

USER = [{"role": "user", "content": "please refactor this"}]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVANT_MODELS", "KIMI2_ENDPOINT", "KIMI2_API_KEY", "KIMI2_MODEL", "KIMI_K2_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two() -> Iterator[list[Servant]]:
    with ExitStack() as stack:
        yield [stack.enter_context(servant(says(f"from {name}"))) for name in "ab"]


def entry(name: str, at: Servant | str = "http://127.0.0.1:1/v1", **more: Any) -> dict[str, Any]:
    return {"name": name, "url": at if isinstance(at, str) else at.url, "timeout": 20} | more


def decided(config: dict[str, Any], text: str = "hello", context: Any = None) -> Any:
    return crown.Router(config).route_decision(text, context)["servant"]


def test_a_decision_tells_all_of_it() -> None:
    router = crown.Router({"servants": [entry("glm", model="GLM-4.1V")]})
    decision = router.route_decision("hello", {"emotion": "joy"})
    assert decision.pop("latency_seconds") >= 0 and decision["core"].pop("seconds") >= 0
    assert decision == {
        "model": "GLM-4.1V",
        "servant": "glm",
        "reason": "no rules are configured",
        "memory": None,
        "core": {"rule": None, "errors": []},
    }


def test_servants_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVANT_MODELS", "glm=http://127.0.0.1:1, kimi=http://user:pa55w0rd@127.0.0.1:2")
    router = crown.Router()
    assert [each["name"] for each in router.status()] == ["glm", "kimi"]
    assert "pa55w0rd" not in str(router.status())


@pytest.mark.parametrize(
    ("rule", "text", "context", "servant"),
    [
        ({"when": "text.contains('refactor')", "use": ["code"]}, "refactor it", None, "code"),
        ({"when": "text.contains('refactor')", "use": ["code"]}, "hello", None, "glm"),
        ({"when": "emotion in ['stress', 'fear']", "use": ["code"]}, "hi", {"emotion": "fear"}, "code"),
        ({"when": "size > 10", "use": ["code"]}, "héllo wörld", None, "code"),
        (
            {"when": "context.tier == 2 && context.vip", "use": ["code"]},
            "x",
            {"tier": 2, "vip": True},
            "code",
        ),
        ({"when": "context.tier == 2", "use": ["code"]}, "no tier", {}, "glm"),
        ({"capability": "python"}, "x", None, "code"),
        ({"choose": "servants.filter(s, s.healthy && 'python' in s.capabilities)"}, "x", None, "code"),
        ({"choose": "['code']"}, "x", None, "code"),
        ({"choose": "context.wanted"}, "x", {"wanted": "code"}, "code"),
        ({"choose": "'nobody'"}, "x", None, "glm"),
        ({"choose": "1"}, "x", None, "glm"),
    ],
)
def test_rules(rule: dict[str, Any], text: str, context: Any, servant: str) -> None:
    servants = [entry("glm"), entry("code", capabilities=["python"])]
    config = {"servants": servants, "rules": [rule, {"use": ["glm"]}]}
    assert decided(config, text, context) == servant


def test_a_rule_that_fails_is_told(two: list[Servant]) -> None:
    rules = [{"name": "by tier", "when": "context.tier == 1", "use": ["a"]}]
    router = crown.Router({"servants": [entry("a", two[0])], "rules": rules})
    core = router.route_decision("x")["core"]
    assert core["rule"] is None and core["errors"][0].startswith("by tier: ")


def test_only_means_only(two: list[Servant]) -> None:
    """Text that may go nowhere else goes nowhere else, whatever fails."""
    two[0].behaviour = fails(500)
    rules = [{"name": "private", "when": "context.private", "use": ["a"], "only": True}]
    config = {"servants": [entry("a", two[0]), entry("b", two[1])], "rules": rules}
    router = crown.Router(config)
    with pytest.raises(crown.NoAnswerError) as failed:
        router.complete(USER, context={"private": True})
    assert [each["servant"] for each in failed.value.trail or []] == ["a"]
    with pytest.raises(crown.RefusedError, match="private does not let"):
        router.complete(USER, context={"private": True}, model="b")
    with pytest.raises(crown.RefusedError, match="private lets nobody else answer"):
        router.complete(USER, context={"private": "maybe"})
    assert two[1].requests == []


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        ("text.contains('refactor')", "refused by p: not here"),
        ("context.missing", "p cannot be evaluated"),
        ("size", "p cannot be evaluated: it is neither true nor false"),
    ],
)
def test_policies_come_first_and_fail_closed(refuse: str, message: str, two: list[Servant]) -> None:
    policies = [{"name": "p", "refuse": refuse, "reason": "not here"}]
    router = crown.Router({"servants": [entry("a", two[0])], "policies": policies})
    with pytest.raises(crown.RefusedError, match=message) as failed:
        router.complete(USER)
    assert (failed.value.status, failed.value.code, two[0].requests) == (403, "policy", [])
    with pytest.raises(crown.RefusedError):
        router.route_decision("please refactor this")


def test_a_large_context_matters_only_to_those_that_read_it(two: list[Servant]) -> None:
    """Neither a policy nor a rule fails for the size of what it, or only another one, reads."""
    config = {
        "servants": [entry("a", two[0]), entry("b", two[1])],
        "policies": [{"refuse": "text == 'bad' || (has(context.secret) && context.secret)"}],
        "rules": [
            {"name": "large", "when": "context.large.exists(n, n == 2)", "use": ["b"]},
            {"name": "text", "when": "text.contains('refactor')", "use": ["a"], "only": True},
        ],
    }
    router = crown.Router(config)
    context: dict[str, Any] = {"large": [1] * 980_000 + ["x" * 25_600] * 110}
    decision = router.route_decision("please refactor this", context)
    assert decision["servant"] == "a" and decision["core"]["errors"][0].startswith("large: ")
    with pytest.raises(crown.RefusedError):
        router.route_decision("please refactor this", context | {"secret": True})


def test_policies_see_every_message(two: list[Servant]) -> None:
    policies = [{"refuse": "text.contains('forbidden')"}]
    router = crown.Router({"servants": [entry("a", two[0])], "policies": policies})
    with pytest.raises(crown.RefusedError):
        router.complete([{"role": "system", "content": "forbidden"}, *USER])


def test_the_envelope_is_the_same_on_every_path(two: list[Servant]) -> None:
    two[0].behaviour = fails(500)
    config = {
        "servants": [entry("a", two[0])],
        "kimicho": {"endpoint": two[1].url, "model": "k2"},
    }
    router = crown.Router(config)
    first = router.complete(USER, temperature=0.5)
    two[0].behaviour = says("better")
    second = router.complete(USER)
    assert (first["crown"]["servant"], second["crown"]["servant"]) == ("kimicho", "a")
    assert (first["crown"]["model"], second["crown"]["model"]) == ("k2", "a")
    assert first["crown"].keys() == second["crown"].keys()
    assert first.keys() == second.keys()
    assert two[1].requests[0][2] == {"messages": USER, "temperature": 0.5, "model": "k2"}


def test_credentials_in_a_url_go_into_a_header_and_nowhere_else(two: list[Servant]) -> None:
    url = two[0].url.replace("http://", "http://crown:pa55w0rd@")
    router = crown.Router({"servants": [entry("a", url)]})
    answer = router.complete(USER)
    assert two[0].requests[0][1]["authorization"] == "Basic Y3Jvd246cGE1NXcwcmQ="
    two[0].behaviour = fails(401, message="wrong: Basic Y3Jvd246cGE1NXcwcmQ=")
    with pytest.raises(crown.NoAnswerError) as failed:
        router.complete(USER)
    told = f"{answer} {failed.value} {failed.value.trail} {router.status()}"
    assert "pa55w0rd" not in told and "Y3Jvd" not in told


def test_credentials_that_a_servant_repeats_are_masked(two: list[Servant]) -> None:
    url = two[0].url.replace("//", "//crown:hunter%202@")
    two[0].behaviour = fails(401, "bad", "no: crown:hunter 2, hunter%202, Y3Jvd246aHVudGVyIDI=")
    with pytest.raises(crown.NoAnswerError, match="does not accept the key") as failed:
        crown.Router({"servants": [entry("a", url)]}).complete(USER)
    assert "no: ***, ***, ***" in str(failed.value)


def test_a_servant_that_was_left_alone_is_tried_if_nobody_else_answers(two: list[Servant]) -> None:
    router = crown.Router({"servants": [entry("a", two[0])], "kimicho": {"endpoint": two[1].url}})
    two[0].behaviour = two[1].behaviour = fails(501)
    for _ in range(3):
        with pytest.raises(crown.NoAnswerError):
            router.complete(USER)
    assert router.status()[0]["healthy"] is False
    two[0].behaviour = says("well again")
    answer = router.complete(USER)
    assert [tried["servant"] for tried in answer["crown"]["trail"]] == ["kimicho", "a"]


def test_a_key_from_the_environment(two: list[Servant], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A", "sk-1")
    crown.Router({"servants": [entry("a", two[0], api_key_env="KEY_OF_A")]}).complete(USER)
    assert two[0].requests[0][1]["authorization"] == "Bearer sk-1"
    with pytest.raises(crown.ConfigurationError, match="api_key_env"):
        crown.Router({"servants": [entry("a", two[0], api_key_env="NO_SUCH_KEY")]})


def test_nobody_to_ask() -> None:
    with pytest.raises(crown.NoAnswerError, match="nobody to ask") as failed:
        crown.Router({}).complete(USER)
    assert (failed.value.status, failed.value.trail) == (503, [])
    assert crown.Router({}).route_decision("x")["servant"] is None


def test_a_look_at_the_servants(two: list[Servant]) -> None:
    gone = entry("gone", f"http://127.0.0.1:{free_port()}")
    router = crown.Router({"servants": [entry("a", two[0]), gone]})
    for _ in range(3):
        status = {each["name"]: each["healthy"] for each in router.check()}
    assert status == {"a": True, "gone": False}
    assert {router.route_decision("x")["servant"] for _ in range(20)} == {"a"}


def test_equals_share_the_load_by_weight() -> None:
    router = crown.Router({"servants": [entry("a", weight=3), entry("b")]})
    first = sum(router.route_decision("x")["servant"] == "a" for _ in range(2000))
    assert 1300 < first < 1700


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"servants": [entry("a", weight=float("nan"))]},
            r"config.servants\[0\].weight: not a finite number",
        ),
        ({"servants": [entry("a", weight=0)]}, r"servants\[0\].weight: expected a number above 0"),
        ({"servants": [entry("a"), entry("a")]}, "two servants are called a"),
        ({"servants": [entry("a\r\nX-Evil: 1")]}, r"servants\[0\].name"),
        ({"servants": [entry("a", "http://user:pa55w0rd@")]}, r"servants\[0\].url: cannot be used"),
        ({"rules": [{"when": "text.", "use": []}]}, r"rules\[0\].when: line 1"),
        ({"rules": [{"when": "(" * 1000, "use": []}]}, r"rules\[0\].when"),
        ({"surprise": 1}, "surprise: unknown"),
        ({"servants": {}}, "expected a list"),
        ({"servants": [{1: 2}]}, "a key is not"),
    ],
)
def test_bad_configuration(config: dict[str, Any], words: str) -> None:
    with pytest.raises(crown.ConfigurationError, match=words) as failed:
        crown.Router(config)
    assert "pa55w0rd" not in str(failed.value) and "Evil" not in str(failed.value)
    assert failed.value.faults
    copy = pickle.loads(pickle.dumps(failed.value))
    assert vars(copy) == vars(failed.value)


@pytest.mark.parametrize("text", ["", " \t\n", "a\0b", "\ud800", None, 7, b"bytes"])
def test_bad_text(text: Any) -> None:
    router = crown.Router({"servants": [entry("a")]})
    with pytest.raises(crown.InvalidRequestError):
        router.route_decision(text)


def test_ten_megabytes_of_text_and_an_expression_built_to_explode() -> None:
    explode = (
        "text.matches('(a+)+$') || [1,2,3,4,5,6,7,8].all(a, [1,2,3,4,5,6,7,8].all(b, text.contains('zz')))"
    )
    router = crown.Router({"servants": [entry("a")], "rules": [{"name": "r", "when": explode, "use": ["a"]}]})
    with pytest.raises(crown.InvalidRequestError) as failed:
        router.route_decision("x" * (10 << 20))
    assert failed.value.status == 413
    assert router.route_decision("a" * (1 << 20))["servant"] == "a"


def test_values_that_are_in_each_other_many_times_over_are_refused_at_once() -> None:
    script = f"""
import neoabzu_crown as crown
{DOUBLED}
router = crown.Router({{"servants": [], "kimicho": False}})
for call in (
    lambda: crown.Router({{"rules": doubled}}),
    lambda: router.route_decision("hi", {{"x": doubled}}),
    lambda: router.complete([{{"role": "user", "content": doubled}}]),
    lambda: router.complete([{{"role": "user", "content": "hi"}}], context={{"x": doubled}}),
    lambda: router.complete([{{"role": "user", "content": "hi"}}], stop=doubled),
):
    try:
        call()
    except (crown.InvalidRequestError, crown.ConfigurationError) as error:
        print(error)
"""
    places = ["config", "context", "messages", "context", "options"]
    told = run_limited(script).splitlines()
    assert told == [f"{place}: too many values, 1000000 are allowed" for place in places]
