"""Signals that another thread of a process than its main one hears, as the kernel may choose at any time."""

from __future__ import annotations

import ctypes
import os

__all__ = ["send_to_other_thread"]


def send_to_other_thread(pid: int, number: int) -> None:
    """Have a thread that is not the main one interrupted by a signal (tgkill(2))."""
    other = next(int(name) for name in sorted(os.listdir(f"/proc/{pid}/task"), key=int) if int(name) != pid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.tgkill(pid, other, number) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")
