"""Resource limits of a component, in force before its program runs.

The component is started behind a gate: a shell that waits for one line, is limited from outside
meanwhile, and becomes the program then. Between ``fork`` and ``exec`` nothing could be done safely,
and after ``exec`` the program would have a head start. Every process it starts inherits the limits:

- ``memory``: bytes of private writable memory of each process (RLIMIT_DATA, which unlike
  RLIMIT_AS does not count address space that is only reserved);
- ``cpu``: processors the component may use together, rounded up to whole ones (CPU affinity);
- ``files``: open descriptors of each process (RLIMIT_NOFILE);
- ``processes``: processes and threads of the component's user (RLIMIT_NPROC; the kernel does not
  hold it against root).
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Mapping, Sequence

from razar.config.model import Limits
from razar.launchers.base import LaunchError

__all__ = ["Gate"]

_WAIT = 'read -r _ && exec "$@" </dev/null'

_next_cpu = 0


class Gate:
    """Holds one program back until its limits are set."""

    def __init__(self) -> None:
        self.stdin, self._release = os.pipe2(os.O_CLOEXEC)

    def command(self, argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> list[str]:
        """Return what to start with ``stdin`` instead; raises OSError if there is no such program."""
        from shutil import which

        program = argv[0] if argv else ""
        if "/" in program:
            path = os.path.join(cwd, program)
            if not os.path.exists(path):
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            if os.path.isdir(path) or not os.access(path, os.X_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        elif which(program, path=env.get("PATH", os.defpath)) is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return ["/bin/sh", "-c", _WAIT, "sh", *argv]

    def open(self, pid: int, limits: Limits) -> None:
        """Limit the waiting process and let it go; raises LaunchError if that is not permitted."""
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
            except (OSError, ValueError):
                most = resource.getrlimit(number)[1]
                raise LaunchError(
                    f"cannot limit {name} to {value}: this user may have at most {most}"
                ) from None
        if limits.cpu is not None:
            _use_cpus(pid, math.ceil(limits.cpu))
        os.write(self._release, b"\n")

    def close(self) -> None:
        """Give the descriptors back; a program that was not let go ends."""
        os.close(self.stdin)
        os.close(self._release)


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
    except OSError as error:
        raise LaunchError(f"cannot limit cpu to {count}: {error.strerror}") from None
