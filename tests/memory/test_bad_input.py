"""What cannot be kept or asked is refused by type, with the limit, and the bundle goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neoabzu_memory import InvalidInputError, MemoryBundle, fingerprint
from tests.support.limited import DOUBLED, run_limited

NAN, INFINITY = float("nan"), float("inf")
MEBIBYTE = 1 << 20


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[MemoryBundle]:
    made = MemoryBundle(tmp_path / "memory.db")
    made.remember("semantic", "what was there before")
    yield made
    # Whatever was refused, it goes on, and nothing of it was kept.
    assert made.remember("semantic", "and what comes after") == "semantic-2"
    answer = made.query("what", deadline=10)
    assert len(answer["hits"]) == 2 and answer["failed_layers"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        (" \n\t", "the text is empty"),
        ("x" * 10 * MEBIBYTE, "the text has 10485760 bytes, 1048576 are allowed"),
        ("half of \ud800 a pair", "text: not Unicode text"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), "text: not Unicode text"),
    ],
    ids=["empty", "blank", "10 MB", "surrogate", "not UTF-8"],
)
def test_a_text_that_is_none(bundle: MemoryBundle, text: str, message: str) -> None:
    for call in (
        lambda: bundle.remember("semantic", text),
        lambda: bundle.remember_many("semantic", [{"text": "good"}, {"text": text}]),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()
    about = message.replace("the text", "the query")
    with pytest.raises(InvalidInputError, match=about):
        bundle.query(text)
    about = message.replace("the text", "the error").replace("text:", "error:").replace("1048576", r"\d+")
    with pytest.raises(InvalidInputError, match=about.partition(",")[0]):
        bundle.record_failure("router", "network", text)


def test_the_largest_text_is_kept(bundle: MemoryBundle) -> None:
    id = bundle.remember("working", "needle " + "x" * (MEBIBYTE - 7))
    assert [hit["id"] for hit in bundle.query("needle", deadline=10)["hits"]] == [id]
    assert bundle.query("what " + "y" * (MEBIBYTE - 5), deadline=10)["failed_layers"] == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: b.remember("dreams", "x"), 'no layer "dreams": the layers are working, episodic'),
        (lambda b: b.remember("semantic", "x", key=""), "the key is empty"),
        (lambda b: b.remember("semantic", "x", key="a\0b"), "NUL"),
        (lambda b: b.remember("semantic", "x", key="k" * 513), "513 bytes, 512 are allowed"),
        (lambda b: b.remember("semantic", "x", metadata={"a": NAN}), r"metadata\.a: not a finite number"),
        (lambda b: b.remember("semantic", "x", metadata={"a": {1}}), r"metadata\.a: a value of type set"),
        (lambda b: b.remember("semantic", "x", metadata={1: 1}), "a key is not Unicode text"),
        (lambda b: b.remember("semantic", "x", metadata={"a": 2**64}), "beyond 64 bits"),
        (lambda b: b.remember("semantic", "x", metadata={"a": "y" * 70000}), "65536 are allowed"),
        (lambda b: b.remember_many("semantic", [{"txt": "x"}]), r"items\[0\]: expected only text"),
        (lambda b: b.remember_many("semantic", [{"key": "x"}]), r"items\[0\]: there is no text"),
        (lambda b: b.remember_many("semantic", ({"text": "x"} for _ in range(100_001))), "more than 100000"),
        (lambda b: b.query("x", layers=[]), "no layer is named"),
        (lambda b: b.query("x", layers=["semantic", "dreams"]), "no layer"),
        (lambda b: b.query("x", limit=0), "the limit is 0, it may be 1 to 1000"),
        (lambda b: b.query("x", limit=-5), "it may be 1 to 1000"),
        (lambda b: b.query("x", limit=1001), "it may be 1 to 1000"),
        (lambda b: b.query("x", limit=1 << 80), "it may be 1 to 1000"),
        (lambda b: b.query("x", deadline=0), "seconds above 0"),
        (lambda b: b.query("x", deadline=-1), "seconds above 0"),
        (lambda b: b.query("x", deadline=NAN), "seconds above 0"),
        (lambda b: b.query("x", deadline=INFINITY), "seconds above 0"),
        (lambda b: b.query("x", deadline=61), "it may be up to 60 s"),
        (lambda b: b.forget("semantic"), 'no record id "semantic"'),
        (lambda b: b.forget("semantic-0"), "no record id"),
        (lambda b: b.recall_repair("abc"), "no fingerprint"),
        (lambda b: b.record_repair("0" * 32, {}, True), "the repair is empty"),
        (lambda b: b.record_failure("", "network", "x"), "the component is empty"),
        (lambda b: b.record_failure("a\0b", "network", "x"), "NUL"),
        (lambda b: fingerprint("a", "c" * 513, "x"), "512 are allowed"),
        (lambda b: MemoryBundle(""), "the path is empty"),
        (lambda b: MemoryBundle("a\0b"), "NUL"),
        (lambda b: MemoryBundle("x", busy_timeout=0), "seconds above 0"),
        (lambda b: MemoryBundle("x", busy_timeout=3600), "it may be up to 60 s"),
    ],
)
def test_what_is_refused_by_value(
    bundle: MemoryBundle, call: Callable[[MemoryBundle], object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call(bundle)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: b.remember("semantic", b"bytes"), "text: expected str, got bytes"),
        (lambda b: b.remember("semantic", None), "text: expected str, got NoneType"),
        (lambda b: b.remember(1, "x"), "layer: expected str, got int"),
        (lambda b: b.remember("semantic", "x", metadata=[1]), "metadata: expected dict, got list"),
        (lambda b: b.remember("semantic", "x", key=1), "key: expected str, got int"),
        (lambda b: b.remember_many("semantic", 5), "not iterable"),
        (lambda b: b.remember_many("semantic", ["x"]), r"items\[0\]: expected dict, got str"),
        (lambda b: b.query("x", layers="semantic"), "layers: expected a list of names, got str"),
        (lambda b: b.query("x", limit="ten"), "integer"),
        (lambda b: b.query("x", deadline="soon"), "real number"),
        (lambda b: b.forget(1), "id: expected str, got int"),
        (lambda b: b.record_repair("0" * 32, "fix", True), "repair: expected dict, got str"),
        (lambda b: MemoryBundle(5), "PathLike"),
    ],
)
def test_what_is_refused_by_type(bundle: MemoryBundle, call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(bundle)


def test_items_that_fail_half_way_keep_nothing(bundle: MemoryBundle) -> None:
    def items() -> Iterator[dict[str, str]]:
        yield {"text": "what a start"}
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        bundle.remember_many("semantic", items())


def test_an_item_whose_key_changes_it_is_no_defect(bundle: MemoryBundle) -> None:
    class Key(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            item[Key(f"more {len(item)}")] = "x"
            return super().__eq__(other)

    item: dict[Any, str] = {Key("text"): "x"}
    try:
        bundle.remember_many("working", [item])
    except InvalidInputError as error:
        assert "items[0]: " in str(error)


def test_what_is_in_itself_many_times_over_is_refused_at_once(tmp_path: Path) -> None:
    script = f"""
from neoabzu_memory import InvalidInputError, MemoryBundle
{DOUBLED}
bundle = MemoryBundle({str(tmp_path / "other.db")!r})
metadata, text = {{"x": doubled}}, "x" * (1 << 20)
for call in (
    lambda: bundle.remember("working", "x", metadata=metadata),
    lambda: bundle.remember_many("working", [{{"text": "x", "metadata": metadata}}]),
    lambda: bundle.record_repair("0" * 32, metadata, True),
    lambda: bundle.remember_many("working", [{{"text": text}}] * 100_000),
):
    try:
        call()
    except InvalidInputError as error:
        print(error)
"""
    told = run_limited(script).splitlines()
    assert len(told) == 4 and all("65536 are allowed" in line for line in told[:3])
    assert told[3] == "the batch has more than 268435456 bytes, which are allowed"


def test_metadata_nested_without_end(bundle: MemoryBundle) -> None:
    nested: dict[str, Any] = {}
    nested["itself"] = nested
    with pytest.raises(InvalidInputError, match="nested more than"):
        bundle.remember("semantic", "x", metadata=nested)


@pytest.mark.parametrize(
    "word", ['"', "NOT", "text:what", "what*", "^", "NEAR(a b)", "'; DROP TABLE semantic", "%s", "(", "\0"]
)
def test_nothing_in_a_query_is_syntax(bundle: MemoryBundle, word: str) -> None:
    answer = bundle.query(f"before {word} what", deadline=10)
    assert len(answer["hits"]) == 1 and answer["failed_layers"] == {}


def test_an_error_does_not_repeat_the_text(bundle: MemoryBundle) -> None:
    with pytest.raises(InvalidInputError) as failed:
        bundle.remember("semantic", "hunter2 " * MEBIBYTE)
    assert "hunter2" not in str(failed.value) and sys.getsizeof(str(failed.value)) < 500
