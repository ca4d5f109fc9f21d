"""Leaving a supervisor behind: a child boots in a session of its own and tells when the boot has ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from razar.boot.stop_signals import STOP_SIGNALS

__all__ = ["VARIABLE", "Teller", "boot_in_background"]

#: Names the descriptor on which the child writes the outcome of the boot.
VARIABLE = "RAZAR_DETACHED_FD"


def boot_in_background(argv: Sequence[str]) -> int:
    """Start the boot in a child and wait for its end; return the exit code of the boot.

    The child writes to our terminal until then. Signals that reach us meanwhile are passed on.
    """
    import subprocess

    early: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: object) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, pass_on)
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "razar.boot_orchestrator", *argv],
        env={**os.environ, VARIABLE: str(writer)},
        pass_fds=(writer,),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writer)
    for missed in early:
        child.send_signal(missed)
    told = b""
    while part := os.read(reader, 64):
        told += part
    if told.strip().isdigit():
        print(f"supervisor: pid {child.pid}")
        child.returncode = 0  # It goes on without us; we must not wait for it.
        return int(told)
    code = child.wait()
    return code if code >= 0 else 128 - code  # Killed: as a shell tells it.


class Teller:
    """The child's side: tell the outcome once, then let go of the terminal."""

    def __init__(self) -> None:
        text = os.environ.pop(VARIABLE, "")
        self._fd = int(text) if text.isdigit() else None
        if self._fd is not None:
            os.set_inheritable(self._fd, False)

    @property
    def detached(self) -> bool:
        """Whether somebody waits to be told."""
        return self._fd is not None

    def tell(self, code: int) -> None:
        """The boot has ended: ``code`` is 0 or 1."""
        if self._fd is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.close(null)
        with suppress(OSError):  # Whoever waited has been killed meanwhile.
            os.write(self._fd, b"%d\n" % code)
        os.close(self._fd)
        self._fd = None
