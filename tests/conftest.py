"""What every test relies on: signals that arrive, and no limits of time but its own.

A shell that starts the tests in the background, or under nohup, has them ignore SIGINT and SIGHUP, and
every program they start would inherit that. Hypothesis takes an example that lasts longer than 0.2 s,
and one that took seconds to make, for a fault; on a busy machine they are none.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

settings.register_profile("razar", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("razar")
