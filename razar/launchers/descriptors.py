"""File descriptors of RAZAR itself: enough for every component, and none the fewer for those."""

from __future__ import annotations

import os

__all__ = ["give_back", "widen"]

#: What RAZAR opens for itself, and for each component: its pidfd, its probe, the pipes of a command.
OWN = 128
EACH = 8

_given: tuple[int, int] | None = None


def widen(components: int) -> None:
    """Raise our soft limit to the hard one if it is too low for that many components.

    A supervisor that cannot open a probe would take it for a failed one.
    """
    global _given
    if os.sysconf("SC_OPEN_MAX") >= OWN + EACH * components:  # Without importing anything.
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        _given = soft, hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_back(pid: int) -> None:
    """Give a process that was just started the limit that RAZAR was started with.

    Programs that call select(2) fail beyond 1024 descriptors, so they must not get more unasked.
    """
    if _given is not None:
        import resource

        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _given)
        except (ProcessLookupError, PermissionError):
            pass  # It has ended, or has become another user's.
