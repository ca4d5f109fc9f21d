"""From a reply to one proposal, or to the reason why there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.razar.errors import ProposalRefusedError
from agents.razar.proposals.proposal import EDITS_LIMIT, SIZE_LIMIT, TOOL, Edit, Proposal, tool
from agents.razar.proposals.schema import made
from agents.razar.proposals.tool_calls import read_proposal
from agents.razar.web.own_keys import OwnKeys

PATCH: dict[str, Any] = {
    "summary": "s",
    "root_cause": "r",
    "edits": [{"path": "a.py", "old": "<|tool_call_end|>", "new": "</tool_call>"}],
}
PLAIN = PATCH | {"edits": [{"path": "a.py", "content": ""}]}
OTHER = PATCH | {"summary": "another"}
SECTIONS = ["tool_calls_section", "tool_call_section"]


def structured(*patches: Any, name: str = TOOL) -> dict[str, Any]:
    calls = [
        {
            "id": f"functions.{name}:{n}",
            "type": "function",
            "function": {"name": name, "arguments": encoded(patch)},
        }
        for n, patch in enumerate(patches)
    ]
    return {
        "message": {"role": "assistant", "content": None, "tool_calls": calls},
        "finish_reason": "tool_calls",
    }


def encoded(patch: Any) -> str:
    return patch if isinstance(patch, str) else json.dumps(patch)


def kimi(*patches: Any, section: str = SECTIONS[0], id: str = f"functions.{TOOL}:0") -> str:
    calls = "".join(
        f"<|tool_call_begin|>{id}<|tool_call_argument_begin|>{encoded(patch)}<|tool_call_end|>"
        for patch in patches
    )
    return f"I see.<|{section}_begin|>{calls}<|{section}_end|>"


def hermes(*patches: Any, name: str = TOOL) -> str:
    calls = [json.dumps({"name": name, "arguments": patch}) for patch in patches]
    return "think</reason>" + "".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls) + "<|im_end|>"


def message(**fields: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", **fields}, "finish_reason": "stop"}


def reply(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion", "choices": list(choices)}


def reason(value: Any, keys: OwnKeys | None = None) -> str:
    with pytest.raises(ProposalRefusedError) as caught:
        read_proposal(value, keys)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(structured(PATCH), id="tool_calls"),
        pytest.param(structured(PATCH) | {"finish_reason": "stop"}, id="another reason to stop"),
        pytest.param(
            {"message": {"tool_calls": [{"function": {"name": TOOL, "arguments": PATCH}}]}}, id="decoded"
        ),
        *[
            pytest.param(choice, id=f"{section} in {place}")
            for section in SECTIONS
            for place, choice in {
                "content": message(content=kimi(PATCH, section=section)),
                "parts": message(
                    content=[{"type": "text", "text": kimi(PATCH, section=section)}, {"type": "x"}]
                ),
                "text": {"text": kimi(PATCH, section=section), "finish_reason": "stop"},
                "reasoning": message(content="", reasoning_content=kimi(PATCH, section=section)),
            }.items()
        ],
        pytest.param({"text": kimi(PATCH, id=TOOL)}, id="a name without prefix and index"),
        pytest.param({"text": hermes(PATCH)}, id="hermes"),
        pytest.param({"text": hermes(json.dumps(PATCH))}, id="hermes with a text of arguments"),
        pytest.param(message(content=hermes(PATCH)), id="hermes in content"),
        pytest.param(message(content=kimi(PATCH)) | structured(PATCH), id="structured"),
        pytest.param(message(content=kimi(PATCH, PATCH)), id="the same one twice"),
    ],
)
def test_every_form_gives_the_proposal(choice: dict[str, Any]) -> None:
    proposal = read_proposal(reply(choice))
    expected = Edit(path="a.py", old="<|tool_call_end|>", new="</tool_call>")
    assert proposal == Proposal(summary="s", root_cause="r", edits=[expected])


def test_a_draft_in_the_reasoning_is_no_second_proposal() -> None:
    choice = structured(PATCH)
    choice["message"]["reasoning_content"] = kimi(OTHER)
    assert read_proposal(reply(choice)).summary == "s"


CALL = {"function": {"name": TOOL, "arguments": encoded(PATCH)}}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(reply(structured(PATCH) | {"finish_reason": "length"}), "cut off", id="length"),
        pytest.param(
            reply({"text": kimi(PATCH), "finish_reason": "length"}), "cut off", id="length of a text"
        ),
        pytest.param(
            reply(structured(PATCH) | {"finish_reason": "content_filter"}), "filtered", id="filtered"
        ),
        pytest.param(reply(structured(PATCH, OTHER)), "2 proposals", id="two calls"),
        pytest.param(reply(structured(PATCH), structured(OTHER)), "2 proposals", id="two choices"),
        pytest.param(reply(message(content=kimi(PATCH, OTHER))), "2 proposals", id="two marked"),
        pytest.param(reply(message(content=kimi(PATCH) + kimi(OTHER))), "2 proposals", id="two sections"),
        pytest.param(reply({"text": hermes(PATCH, OTHER)}), "2 proposals", id="two of hermes"),
        pytest.param(reply({"text": kimi(PATCH) + hermes(OTHER)}), "2 proposals", id="two forms"),
        pytest.param(
            reply(message(content=kimi(OTHER), tool_calls=[CALL])), "2 proposals", id="structured and marked"
        ),
        pytest.param(
            reply(structured({"cmd": "id"}, name="bash")), '"bash", which was never offered', id="other tool"
        ),
        pytest.param(
            reply(structured(PATCH), structured({}, name="bash")), "never offered", id="other tool beside"
        ),
        pytest.param(reply(message(content=kimi({}, id="functions.rm:0"))), '"rm"', id="other tool marked"),
        pytest.param(reply({"text": hermes({}, name="x\x1b[2J")}), "never offered", id="control characters"),
        pytest.param(reply(message(content="Just restart it.")), "only prose", id="prose"),
        pytest.param(
            reply(message(content=f"```json\n{encoded(PLAIN)}\n```")), "only prose", id="json in prose"
        ),
        pytest.param(reply(message(content=None)), "only prose", id="no content"),
        pytest.param({"response": "<!doctype html><h1>Sign in"}, "HTML", id="html"),
        pytest.param({"response": "upstream failed"}, "not JSON", id="text"),
        pytest.param({"response": " "}, "empty", id="empty"),
        pytest.param({"error": {"message": "no\x1b[0m"}}, "is an error", id="error"),
        pytest.param([], "no JSON object", id="list"),
        pytest.param(None, "no JSON object", id="null"),
        pytest.param({"choices": []}, "no choices", id="no choices"),
        pytest.param({"choices": ["x"]}, "no choices", id="choices of texts"),
        pytest.param(reply(message(tool_calls={"a": 1})), "no list", id="calls no list"),
        pytest.param(reply(message(tool_calls=[{"id": 1}])), "without a name", id="call without a name"),
        pytest.param(
            reply(message(tool_calls=[{"function": {"name": TOOL}}])), "without arguments", id="no arguments"
        ),
        pytest.param(reply(structured('{"summary": "s", "edits": [')), "not valid JSON", id="cut JSON"),
        pytest.param(reply(structured(encoded(PATCH) + "{}")), "not valid JSON", id="two objects"),
        pytest.param(reply(structured("")), "not valid JSON", id="no JSON"),
        pytest.param(reply(structured("[" * 100_000)), "has not the form", id="deep"),
        pytest.param(reply({"text": kimi('{"a":' * 100_000)}), "nested too deeply", id="deep, marked"),
        pytest.param(reply({"text": kimi("[1]")}), "no JSON object", id="a list"),
        pytest.param(reply({"text": kimi(PATCH)[:-30]}), "does not end", id="section without its end"),
        pytest.param(reply({"text": kimi(PATCH)[:-40]}), "does not end", id="call without its end"),
        pytest.param(reply({"text": kimi(PATCH, id="../x:0")}), "no valid name", id="bad name"),
        pytest.param(
            reply({"text": kimi(PATCH) + "<|tool_call_begin|>"}), "outside of one", id="stray marker"
        ),
        pytest.param(reply({"text": hermes(PATCH)[:-15]}), "does not end", id="hermes without its end"),
        pytest.param(reply({"text": "</tool_call>"}), "outside of one", id="hermes without its beginning"),
    ],
)
def test_what_is_refused(value: Any, words: str) -> None:
    assert words in reason(value)


@pytest.mark.parametrize(
    "change",
    [
        {"edits": []},
        {"edits": [{"path": "a.py"}]},
        {"edits": [{"path": "a.py", "old": "x"}]},
        {"edits": [{"path": "a.py", "old": "x", "new": "x"}]},
        {"edits": [{"path": "a.py", "old": "", "new": "x"}]},
        {"edits": [{"path": "a.py", "old": "x", "new": "y", "content": "z"}]},
        {"edits": [{"path": "", "content": "x"}]},
        {"edits": [{"path": "a.py", "content": "x", "mode": "0755"}]},
        {"edits": [{"path": "a.py", "content": "x"}, {"path": "a.py", "content": "y"}]},
        {"edits": [{"path": "a.py", "content": "x"}, {"path": "a.py", "old": "x", "new": "y"}]},
        {"edits": [{"path": f"{n}.py", "content": ""} for n in range(EDITS_LIMIT + 1)]},
        {"edits": [{"path": "a.py", "content": "x" * SIZE_LIMIT}]},
        {"edits": "a.py"},
        {"confidence": 1.5},
        {"confidence": "high"},
        {"summary": ""},
        {"summary": None},
        {"run": "rm -rf /"},
        {"tests_to_run": ["t"] * 21},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_a_proposal_of_another_form_is_refused(change: dict[str, Any]) -> None:
    assert "has not the form" in reason(reply(structured(PATCH | change)))


def test_a_number_that_is_none_is_refused_in_every_form() -> None:
    for text in (
        kimi(encoded(PATCH | {"confidence": float("nan")})),
        hermes(PATCH | {"confidence": float("nan")}),
    ):
        assert "not valid JSON" in reason(reply({"text": text}))


def test_what_may_be_left_out_may_be_null() -> None:
    edit = {"path": "a.py", "old": None, "new": None, "content": ""}
    proposal = read_proposal(reply(structured(PATCH | {"edits": [edit], "confidence": None})))
    assert proposal.edits == [Edit(path="a.py", content="")] and proposal.confidence is None


def test_a_proposal_with_a_key_of_ours_is_refused() -> None:
    keys = OwnKeys(["k-0123456789"])
    escaped = encoded(PATCH | {"summary": "k-0123456789"}).replace("k-01", "\\u006b-01")
    assert "repeats our own key" in reason(reply(structured(escaped)), keys)
    assert "repeats our own key" in reason(
        reply(structured(PATCH | {"tests_to_run": ["k-0123456789"]})), keys
    )
    assert "k-0123" not in reason(reply(structured({}, name="k-0123456789")), keys)
    assert "k-0123" not in reason(reply(structured(PATCH | {"k-0123456789": 1})), keys)


def test_what_is_sent_was_made_from_the_types() -> None:
    assert tool() == json.loads(made())


def test_the_schema_that_is_sent_is_the_one_that_is_checked() -> None:
    function = tool()["function"]
    schema = function["parameters"]
    assert function["name"] == TOOL and set(schema["properties"]) == set(Proposal.__struct_fields__)
    assert schema["required"] == ["summary", "root_cause", "edits"]
    edit = schema["properties"]["edits"]["items"]
    assert set(edit["properties"]) == set(Edit.__struct_fields__) and edit["required"] == ["path"]
    assert "$ref" not in json.dumps(tool()) and "anyOf" not in json.dumps(tool())


PIECES = [
    *"<|tool_calls_section_begin|> <|tool_call_begin|> functions.propose_patch:0 { } x \ud800".split(" "),
    *"<|tool_call_argument_begin|> <|tool_call_end|> <|tool_calls_section_end|>".split(" "),
    *("<tool_call>", "</tool_call>", encoded(PATCH), '{"name": "propose_patch", "arguments": {}}'),
]
TEXTS = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from(PIECES)).map("".join),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["message", "content", "tool_calls", "function", "name", "arguments", "text", "error"]
            ),
            inner,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(choices=st.lists(JSON, max_size=3))
def test_whatever_comes_is_a_proposal_or_a_refusal(choices: list[Any]) -> None:
    try:
        assert isinstance(read_proposal({"choices": choices}), Proposal)
    except ProposalRefusedError:
        pass
