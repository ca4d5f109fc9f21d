"""Ctrl-C ends a call that waits for somebody, at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.gateway.support import Servant, environment, hangs, servant
from tests.support.signals import send_to_other_thread
from tests.support.waiting import until_sync

KIMICHO = "import neoabzu_kimicho as k; k.init_kimicho(url, timeout=3600); ask = lambda: k.fallback_k2('hi')"
ROUTER = """
import neoabzu_crown as crown
router = crown.Router({"servants": [{"name": "a", "url": url, "timeout": 3600}], "deadline": 3600, "kimicho": False})
ask = lambda: router.complete([{"role": "user", "content": "hi"}])
"""
#: Nobody answers, so that nothing but a signal ends the call.
CALL = """
try:
    print(ask())
except BaseException as error:
    print(type(error).__name__, *error.args)
ask = None
print("it goes on")
"""


@pytest.fixture
def silent() -> Iterator[Servant]:
    with servant(hangs) as made:
        yield made


def told(
    prepare: str, at: Servant, number: signal.Signals, send: Callable[[int, int], None] = os.kill
) -> list[str]:
    """What the script says whose process gets a signal while it waits for the servant."""
    script = f"import signal\nurl = {at.url!r}\n{prepare}\n{CALL}"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        try:
            until_sync(lambda: bool(at.requests) or process.poll() is not None)
            send(process.pid, number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, ""), err
    return out.splitlines()


@pytest.mark.parametrize("prepare", [KIMICHO, ROUTER], ids=["kimicho", "router"])
def test_an_interrupt_ends_the_call_at_once(silent: Servant, prepare: str) -> None:
    assert told(prepare, silent, signal.SIGINT) == ["KeyboardInterrupt", "it goes on"]


@pytest.mark.parametrize("prepare", [KIMICHO, ROUTER], ids=["kimicho", "router"])
def test_what_a_handler_raises_ends_the_call(silent: Servant, prepare: str) -> None:
    handler = """
def handle(number, frame):
    print("heard")
    raise ValueError("from the handler")
signal.signal(signal.SIGUSR1, handle)
"""
    assert told(prepare + handler, silent, signal.SIGUSR1) == [
        "heard",
        "ValueError from the handler",
        "it goes on",
    ]


@pytest.mark.parametrize("send", [os.kill, send_to_other_thread])
def test_a_handler_that_only_notes_something_does_not_end_the_call(
    silent: Servant, send: Callable[[int, int], None]
) -> None:
    handler = """
import threading
def handle(number, frame):
    print("heard")
    threading.Timer(0, signal.raise_signal, [signal.SIGINT]).start()
signal.signal(signal.SIGUSR1, handle)
"""
    heard = told(KIMICHO + handler, silent, signal.SIGUSR1, send)
    assert heard == ["heard", "KeyboardInterrupt", "it goes on"]
