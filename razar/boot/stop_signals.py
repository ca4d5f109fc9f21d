"""Signals that end a boot: taken from before the event loop is there until the process has ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["STOP_SIGNALS", "ignore", "take", "take_over"]

#: What a service manager, Ctrl-C, a closed terminal and Ctrl-\ send.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: What other daemons take for "reopen your logs"; without a handler it would end a mission unstopped.
_MEANINGLESS = (signal.SIGUSR1, signal.SIGUSR2)

_receiver: Callable[[signal.Signals], object] | None = None


def take() -> None:
    """From now on a signal ends the process with 128 plus its number: nothing has been started yet.

    A SIGHUP that is ignored stays so (nohup).
    """
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    for number in _MEANINGLESS:
        signal.signal(number, _nothing)  # Not ignored: components would inherit that.


def take_over(receiver: Callable[[signal.Signals], object]) -> None:
    """Hand further signals to ``receiver``, which is called between two instructions of the main thread."""
    global _receiver
    _receiver = receiver


def ignore() -> None:
    """There is nothing left to stop: from now on the exit code stands."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _receiver is None:
        os._exit(128 + number)
    _receiver(signal.Signals(number))


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
