"""What every test relies on: signals that arrive, output as users have it, limits of time only where they are meant.

A shell that starts the tests in the background, or under nohup, has them ignore SIGINT and SIGHUP, and
every program they start would inherit that. Without buffers a program would meet a closed pipe earlier
than it does for users. Hypothesis fails an example that takes 200 ms, which on a busy machine any may,
unless it is told not to.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "razar", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("razar")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

os.environ.pop("PYTHONUNBUFFERED", None)
