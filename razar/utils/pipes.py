"""Programs whose output goes somewhere: to a reader that may have seen enough, or to a disk that may be full."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from razar.utils.places import NOWHERE, is_nowhere
from razar.utils.streams import use_streams

__all__ = ["BROKEN_PIPE", "INTERRUPTED", "until_closed"]

INTERRUPTED = 130
#: Exit code of a program whose reader has left, as a shell gives it for SIGPIPE.
BROKEN_PIPE = 141


def until_closed(main: Callable[[], int]) -> int:
    """Run a command line to its end, or until its output cannot be written; return the exit code."""
    use_streams()
    try:
        try:
            code = main()
        except SystemExit as leaving:  # argparse has said what is wrong, or how it is used.
            if isinstance(leaving.code, str):
                raise
            code = leaving.code or 0
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        return BROKEN_PIPE
    except OSError as fault:
        if is_nowhere():
            sys.stderr.write(NOWHERE)
            return 2
        _abandon_output()
        what = fault.filename if isinstance(fault.filename, str) else "cannot write the output"
        sys.stderr.write(f"razar: {what}: {fault.strerror or fault}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _abandon_output() -> None:
    """What is still buffered has no reader; the interpreter must not complain of that at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
