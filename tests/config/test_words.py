"""Variables, words, durations and sizes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from razar.config.faults import Problem
from razar.config.units import seconds, size_bytes
from razar.config.words import expand, split_words

from .support import component, faults_of, load, load_one, only_fault

VARIABLES = {"A": "1", "EMPTY": "", "SPACE": "x y", "REFERENCE": "${A}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("a${A}b${A}", "a1b1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${A:-x}", "1"),
        ("${NONE:-}", ""),
        ("${NONE:-http://h:1/?a=b c}", "http://h:1/?a=b c"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$1"),
        ("$A $", "$A $"),
        ("${REFERENCE}", "${A}"),
    ],
)
def test_variables(text: str, expanded: str) -> None:
    assert expand(text, VARIABLES) == expanded


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1A}", "${A-x}", "${A:-${B}}", "${ A }", "${A:x}"])
def test_broken_references(text: str) -> None:
    with pytest.raises(Problem) as caught:
        expand(text, VARIABLES)
    assert "$$" in (caught.value.hint or "")


def test_an_unset_variable_is_named(tmp_path: Path) -> None:
    fault = only_fault(lambda: load_one(tmp_path, entrypoint="python ${NOWHERE}"))
    assert fault.found == "NOWHERE, not set in the environment"
    assert "${NOWHERE:-default}" in (fault.hint or "")


def test_every_unset_variable_is_named(tmp_path: Path) -> None:
    faults = faults_of(lambda: load_one(tmp_path, entrypoint="python ${ONE}${TWO}${ONE} ${THREE}"))
    assert [f.found.partition(",")[0] for f in faults] == ["ONE and TWO", "THREE"]
    faults = faults_of(lambda: load_one(tmp_path, entrypoint=["python", "${ONE}", "${TWO}"]))
    assert [f.pointer for f in faults] == ["/components/0/entrypoint/1", "/components/0/entrypoint/2"]


def test_a_value_never_becomes_several_words(tmp_path: Path) -> None:
    config = load(tmp_path, component(entrypoint="python '${SPACE}' ${SPACE}"), environ=VARIABLES)
    assert config.components[0].argv == ("python", "x y", "x y")


def test_every_place_of_variables(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1.env").write_text("RAW=${A}\n")
    entry = component(env={"X": "<${A}>"}, env_file="${A}.env", cwd="${A}", health="tcp://h:${A}")
    config = load(tmp_path, entry, environ=VARIABLES, crown={"url": "ws://h${A}"})
    (one,) = config.components
    assert one.env == {"RAW": "${A}", "X": "<1>"}
    assert (one.cwd, one.probe.target, config.crown.url) == (str(tmp_path / "1"), "h:1", "ws://h1")


def test_a_value_that_is_no_text(tmp_path: Path) -> None:
    environ = {"BYTES": "\udcff"}
    fault = only_fault(lambda: load(tmp_path, component(env={"A": "${BYTES}"}), environ=environ))
    assert "BYTES" in fault.found


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab \t\n\"'\\#$&|;\x0b\xa0é"), max_size=20))
def test_words_are_those_of_a_posix_shell(text: str) -> None:
    try:
        expected = tuple(shlex.split(text))
    except ValueError:
        with pytest.raises(Problem):
            split_words(text)
        return
    assert split_words(text) == expected


def test_a_command_has_a_longest_length() -> None:
    with pytest.raises(Problem):
        split_words("x " * 100_000)


@pytest.mark.parametrize(
    ("value", "result"),
    [(0, 0.0), (1.5, 1.5), ("250ms", 0.25), ("10s", 10.0), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5)],
)
def test_durations(value: float | str, result: float) -> None:
    assert seconds(value) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [(7, 7), ("7", 7), ("1K", 1024), ("512M", 512 * 1024**2), ("2G", 2 * 1024**3), ("0.5T", 1024**4 // 2)],
)
def test_sizes(value: int | str, result: int) -> None:
    assert size_bytes(value) == result
