"""Signals that end a boot: taken from before the event loop is there until the process has ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["STOP_SIGNALS", "ignore", "take", "take_over"]

#: What a service manager, Ctrl-C, a closed terminal and Ctrl-\ send.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: What other daemons take for "reopen your logs"; without a handler it would end a mission unstopped.
_MEANINGLESS = (signal.SIGUSR1, signal.SIGUSR2)

_receiver: Callable[[signal.Signals], object] | None = None
#: The pipe into which the interpreter writes a byte for each signal, in the signal handler itself.
_pipe: tuple[int, int] | None = None


def take() -> None:
    """From now on a signal ends the process with 128 plus its number: nothing has been started yet.

    A SIGHUP that is ignored stays so (nohup).
    """
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    for number in _MEANINGLESS:
        signal.signal(number, _nothing)  # Not ignored: components would inherit that.


def take_over(loop: asyncio.AbstractEventLoop, receiver: Callable[[signal.Signals], object]) -> None:
    """Hand further signals to ``receiver``, which is called by the loop.

    A signal that comes in the instant in which the loop goes to sleep would be noticed at its next
    awakening only, and an idle supervisor never wakes: so signals write into a pipe that wakes it.
    """
    global _receiver, _pipe
    _pipe = reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    loop.add_reader(reading, os.read, reading, 64)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def hand_on(number: signal.Signals) -> None:
        loop.call_soon_threadsafe(receiver, number)

    _receiver = hand_on


def ignore(loop: asyncio.AbstractEventLoop) -> None:
    """There is nothing left to stop: from now on the exit code stands."""
    global _pipe
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if _pipe is not None:
        signal.set_wakeup_fd(-1)
        loop.remove_reader(_pipe[0])
        for descriptor in _pipe:
            os.close(descriptor)
        _pipe = None


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _receiver is None:
        os._exit(128 + number)
    _receiver(signal.Signals(number))


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
