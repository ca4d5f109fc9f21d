"""Programs whose output is read by another one, which may have seen enough."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from razar.utils.streams import use_streams

__all__ = ["BROKEN_PIPE", "until_closed"]

#: Exit code of a program whose reader has left, as a shell gives it for SIGPIPE.
BROKEN_PIPE = 141


def until_closed(main: Callable[[], int]) -> int:
    """Run a command line to its end, or until its output is closed; return the exit code."""
    use_streams()
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has no reader; the interpreter must not complain of that at its end.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return BROKEN_PIPE
    return code
