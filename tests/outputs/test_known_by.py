"""The words by which the memory knows a failure again."""

from __future__ import annotations

import pytest

from razar.issues.classes import classify
from razar.issues.known_by import known_by

EXIT = "exited with code 1 before it was healthy"


def known(*tail: str, error: str = EXIT) -> str:
    return known_by(classify(error, tail), error, tail)


def traceback(last: str) -> tuple[str, ...]:
    return ("Traceback (most recent call last):", '  File "/srv/a.py", line 3, in <module>', last)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (traceback("store.NoQuorum: two of three are gone"), "store.NoQuorum: two of three are gone"),
        (traceback("KeyError: 'chat'"), "KeyError: 'chat'"),
        (
            ("thread 'main' panicked at src/main.rs:10:5:", "no shard is left", "note: run with `X=1`"),
            "thread 'main' panicked at src/main.rs:10:5:\nno shard is left",
        ),
        (
            (
                "ReferenceError: shard is not defined",
                "    at onError (/srv/a.js:1:2)",
                "",
                "Node.js v20.11.0",
            ),
            f"{EXIT}\nReferenceError: shard is not defined",
        ),
        (
            (
                "panic: runtime error: no shard",
                "",
                "goroutine 1 [running]:",
                "main.main()",
                "\t/app/main.go:12",
            ),
            f"{EXIT}\npanic: runtime error: no shard",
        ),
        (
            ('FATAL:  lock file "x.pid" is there', "LOG:  shut down", "INFO: 0 failed"),
            f'{EXIT}\nFATAL:  lock file "x.pid" is there',
        ),
        (("listening",), EXIT),
        ((), EXIT),
    ],
)
def test_what_went_wrong_counts_not_that_something_did(tail: tuple[str, ...], words: str) -> None:
    assert known(*tail) == words


def test_an_error_of_several_lines_stays_whole() -> None:
    error = "the first line\n" + "x" * 1000
    assert known(error=error) == error


def test_the_last_panic_counts() -> None:
    where = "thread 'main' panicked at src/main.rs:10:5:"
    assert known(where, "one", where, "two").endswith("\ntwo")
    assert known(where) == where
