"""Expressions made to do harm end with an error; the interpreter goes on."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from neoabzu_core import LIMITS, CoreError, LimitExceeded, ParseError, compile_check, evaluate_py, references
from tests.support.limited import run_limited

DOUBLING = ".map(v, [v, v])" * 40


@pytest.mark.parametrize(
    ("expression", "limit"),
    [
        ("x" * 10_000_000, "source_bytes"),
        ("'" + "é" * LIMITS["source_bytes"] + "'", "source_bytes"),
        ("(" * 1000 + "1" + ")" * 1000, "nesting"),
        ("[" * 1000, "nesting"),
        ("!(" * 1000, "nesting"),
        ("a ? b : " * 1000 + "c", "nesting"),
        ("!" * 1000 + "true", "depth"),
        ("-" * 1000 + "1", "depth"),
        ("1 + " * 1000 + "1", "depth"),
        ("a" + ".b" * 1000, "depth"),
        ("[" + "1," * 4000 + "1]", "tokens"),
    ],
    ids=lambda case: case[:12] if isinstance(case, str) else "",
)
def test_text_that_is_too_much_is_refused(expression: str, limit: str) -> None:
    for function in (evaluate_py, compile_check, references):
        with pytest.raises(LimitExceeded) as caught:
            function(expression)
        assert (caught.value.limit, caught.value.allowed) == (limit, LIMITS[limit])


@pytest.mark.parametrize(
    "expression",
    [
        "xs.map(a, xs.map(b, xs.map(c, a * b * c)))",
        "xs.exists(a, xs.exists(b, xs.exists(c, a + b + c < 0))) || true",
        "xs.all(a, xs.all(b, xs.all(c, 1 / 0 == a)))",
        f"[1]{DOUBLING}",
        "['" + "a" * 100 + "']" + ".map(v, v + v)" * 40,
        "xs.map(x, text).join(text)",
        "text.replace('', text)",
        "lists.range(1000000).map(x, lists.range(1000000))",
        "xs.all(x, aaa.matches('(?:a?){3000}a{3000}'))",
    ],
    ids=lambda expression: expression[:24],
)
def test_work_without_end_is_stopped(expression: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        evaluate_py(
            expression, {"xs": list(range(1000)), "text": "0123456789" * 10_000, "aaa": "a" * 100_000}
        )
    assert caught.value.limit in ("steps", "milliseconds")


def test_junk_is_an_error_and_nothing_else() -> None:
    for junk in (
        "\x00",
        "\x00" * 100,
        "🙂",
        "a\x7fb",
        "`",
        "```",
        "'''",
        'b"',
        "r'",
        "\\",
        "1e",
        "0x",
        "1u u",
        "..",
        "@",
    ):
        with pytest.raises(CoreError):
            evaluate_py(junk)


def test_an_unfinished_expression_of_the_worst_kind() -> None:
    for start in ("!!(", "[{1:(", "a ? (b ? [", "f(g(h(", "-(-("):
        with pytest.raises(ParseError):
            evaluate_py(start * 12)


def test_a_thread_with_a_small_stack_is_enough() -> None:
    nesting = LIMITS["nesting"]
    chain = LIMITS["depth"] - 2 * nesting - 10
    expression = "(" * nesting + "1" + ")" * nesting + " + 1" * chain
    value: object = 1
    for _ in range(LIMITS["value_depth"]):
        value = [value]
    outcome: list[object] = []

    def work() -> None:
        outcome.append(evaluate_py(expression))
        outcome.append(evaluate_py("[x]" + ".map(v, [v])" * 80, {"x": value}))

    threading.stack_size(128 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(0)
    thread.join()
    number, nested = outcome
    assert number == chain + 1
    depth = 0
    while isinstance(nested, list):
        (nested,) = nested
        depth += 1
    assert (nested, depth) == (1, LIMITS["value_depth"] + 81)


def test_nothing_is_printed_by_a_failure() -> None:
    script = "\n".join(
        [
            "import neoabzu_core",
            "for expression in ['1 +', '(' * 99, 'x', '1 / 0', '[1]' + '.map(v, [v, v])' * 40]:",
            "    try: neoabzu_core.evaluate_py(expression)",
            "    except neoabzu_core.CoreError: pass",
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_values_that_are_in_each_other_many_times_over_are_counted_each_time() -> None:
    nested = """
        from neoabzu_core import LimitExceeded, evaluate_py
        nested = "x"
        for _ in range(63):
            nested = {"a": nested, "b": nested}
        text = "x" * (1 << 20)
        for value in (nested, [nested], (text,) * 1000, [text.encode()] * 1000, {"y": [0], "z": nested}):
            try:
                evaluate_py("size(x)", {"x": value})
            except LimitExceeded as error:
                print(error.limit, error.allowed)
    """
    assert run_limited(nested, memory=2 << 30).splitlines() == [f"input {LIMITS['input']}"] * 5


def test_the_size_of_variables_is_counted_to_the_last_step() -> None:
    most = LIMITS["input"]
    # The list, its elements, and 128 bytes of text to a step.
    assert evaluate_py("size(x)", {"x": [0] * (most - 1)}) == most - 1
    assert evaluate_py("size(x) + size(y)", {"x": [0] * (most - 5), "y": "é" * 192}) == most - 5 + 192
    for names in (
        {"x": [0] * most, "y": ""},
        {"x": [0] * (most - 4), "y": "é" * 192},
        {"x": dict.fromkeys(range(most // 2)), "y": ""},
    ):
        with pytest.raises(LimitExceeded) as caught:
            evaluate_py("size(x) + size(y)", names)
        assert (caught.value.limit, caught.value.allowed) == ("input", most)
