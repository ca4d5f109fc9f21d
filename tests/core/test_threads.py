"""Many threads evaluate at once, and none keeps the others from running."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from neoabzu_core import LimitExceeded, cache_clear, cache_info, evaluate_py

SLOW = "xs.all(a, xs.all(b, a + b >= 0))"
SLOW_NAMES: dict[str, object] = {"xs": list(range(200))}


def runs_beside(work: Callable[[], object]) -> bool:
    """Whether another thread gets to run while `work` does, though none is ever forced to let it."""
    interval = sys.getswitchinterval()
    started, stop = threading.Event(), threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        started.set()
        while not stop.is_set():
            turns += 1
            stop.wait(0.0001)

    thread = threading.Thread(target=count)
    sys.setswitchinterval(1000)
    try:
        thread.start()
        started.wait()
        before = turns
        for _ in range(200):
            work()
            if turns > before:
                return True
        return False
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()


def test_a_long_evaluation_lets_other_threads_run() -> None:
    assert runs_beside(lambda: evaluate_py(SLOW, SLOW_NAMES))


def test_a_long_compilation_lets_other_threads_run() -> None:
    sources = (f"[{','.join([str(number)] * 1500)}][0]" for number in itertools.count())
    assert runs_beside(lambda: evaluate_py(next(sources)))


def test_a_new_pattern_lets_other_threads_run() -> None:
    patterns = (rf"\w{{30}}{number}" for number in itertools.count())
    assert runs_beside(lambda: evaluate_py("x.matches(p)", {"x": "abc", "p": next(patterns)}))


def test_a_pattern_that_is_known_does_not_wait_for_other_threads() -> None:
    def work() -> object:
        return evaluate_py("x.matches('^/api/v[0-9]+/users$')", {"x": "/api/v2/users"})

    work()
    assert not runs_beside(work)


def test_a_short_evaluation_does_not_wait_for_other_threads() -> None:
    # To let go of the lock is to wait for it afterwards, up to a whole switch interval.
    def work() -> object:
        return evaluate_py("x == 'a' && y > 1", {"x": "a", "y": 2})

    work()
    assert not runs_beside(work)


def test_two_threads_do_not_mix_their_outcomes() -> None:
    def one(number: int) -> bool:
        expression = f"x + {number % 7} == y && [x].exists(e, e == x)"
        return evaluate_py(expression, {"x": number, "y": number + number % 7}) is True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(4000)))


def test_a_spent_budget_is_that_of_its_own_evaluation() -> None:
    def harmful() -> bool:
        with pytest.raises(LimitExceeded):
            evaluate_py("xs.map(a, xs.map(b, xs.map(c, 1)))", SLOW_NAMES)
        return True

    def harmless() -> bool:
        return evaluate_py("xs.all(a, xs.all(b, a + b >= 0))", {"xs": list(range(60))}) is True

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(harmful if number % 2 else harmless) for number in range(16)]
        assert all(task.result() for task in tasks)


def test_a_variable_may_change_while_it_is_read() -> None:
    shared: dict[str, object] = {f"k{number}": "x" * 100 for number in range(100)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared[f"k{number % 100}"] = "y" * (number % 1000)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert evaluate_py("m.map(k, m[k]).all(v, v.matches('^[xy]*$'))", {"m": shared}) is True
    finally:
        stop.set()
        thread.join()


def test_the_cache_is_bounded_and_counts() -> None:
    cache_clear()
    capacity = cache_info().maxsize
    for number in range(capacity + 10):
        evaluate_py(f"{number}")
    info = cache_info()
    assert (info.hits, info.misses, info.currsize) == (0, capacity + 10, capacity)
    evaluate_py(f"{capacity + 9}")
    assert cache_info().hits == 1
    evaluate_py("0")
    assert cache_info().misses == capacity + 11, "the oldest was dropped"
    with pytest.raises(ValueError):
        evaluate_py("1 +")
    assert cache_info().currsize == capacity
    cache_clear()
    assert cache_info() == (0, 0, capacity, 0)
