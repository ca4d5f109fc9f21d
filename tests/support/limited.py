"""Scripts that may take more than there is, in a process that has little."""

from __future__ import annotations

import subprocess
import sys
import textwrap

__all__ = ["DOUBLED", "run_limited"]

#: A list of two lists of two lists …: small in Python, 2 ** 60 values when it is written out.
DOUBLED = """
doubled = []
for _ in range(60):
    doubled = [doubled, doubled]
"""


def run_limited(script: str, *, memory: int = 4 << 30) -> str:
    """Run a script in a process that may map so many bytes; return what it printed."""
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))"
    script = "\n".join([limits, textwrap.dedent(script)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
