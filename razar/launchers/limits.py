"""Resource limits of a component, set from outside on the process that was just started.

They are in place before a dynamically linked program has come to its main function (the call takes
some 20 µs, the loader 500), and every process it starts later inherits them:

- ``memory``: bytes of private writable memory of each process (RLIMIT_DATA, which unlike
  RLIMIT_AS does not count address space that is only reserved);
- ``cpu``: processors the component may use together, rounded up to whole ones (CPU affinity);
- ``files``: open descriptors of each process (RLIMIT_NOFILE);
- ``processes``: processes and threads of the component's user (RLIMIT_NPROC; the kernel does not
  hold it against root).
"""

from __future__ import annotations

import math
import os

from razar.config.model import Limits
from razar.launchers.base import LaunchError

__all__ = ["apply"]

_next_cpu = 0


def apply(pid: int, limits: Limits) -> None:
    """Limit a running process; raises LaunchError if the user may not have what was asked for."""
    import resource

    wanted = (
        ("memory", resource.RLIMIT_DATA, limits.memory),
        ("files", resource.RLIMIT_NOFILE, limits.files),
        ("processes", resource.RLIMIT_NPROC, limits.processes),
    )
    for name, number, value in wanted:
        if value is None:
            continue
        try:
            resource.prlimit(pid, number, (value, value))
        except ProcessLookupError:
            return  # It has ended already, which is reported by itself.
        except (OSError, ValueError):
            most = resource.getrlimit(number)[1]
            raise LaunchError(f"cannot limit {name} to {value}: this user may have at most {most}") from None
    if limits.cpu is not None:
        _use_cpus(pid, math.ceil(limits.cpu))


def _use_cpus(pid: int, count: int) -> None:
    """Spread the components over the processors we may use ourselves."""
    global _next_cpu
    usable = sorted(os.sched_getaffinity(0))
    count = max(1, count)
    if count >= len(usable):
        return
    chosen = {usable[(_next_cpu + n) % len(usable)] for n in range(count)}
    _next_cpu = (_next_cpu + count) % len(usable)
    try:
        os.sched_setaffinity(pid, chosen)
    except ProcessLookupError:
        return
    except OSError as error:
        raise LaunchError(f"cannot limit cpu to {count}: {error.strerror}") from None
