"""File descriptors of RAZAR itself: enough for every component, and none the fewer for those."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ENOUGH", "give_back", "need", "reserve", "shortage", "spare", "widen"]

#: What RAZAR opens for itself, and for each component: its pidfd, its probe, the pipes of a command.
OWN = 128
EACH = 8
#: Descriptors that are taken, if they can be had, beyond what a mission is expected to need: clients,
#: families of many processes, commands.
ENOUGH = 65536
#: Descriptors that are kept for looking after processes when all others are in use.
RESERVED = 3

_reserve: list[int] = []
_given: tuple[int, int] | None = None


def widen(wanted: int) -> None:
    """Raise our soft limit to so many descriptors, or to the hard one if that is lower.

    A supervisor that cannot open a probe would take it for a failed one.
    """
    global _given
    if os.sysconf("SC_OPEN_MAX") >= wanted:  # Without importing anything.
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if raised > soft:
        _given = _given or (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))


def need(components: int) -> int:
    """How many descriptors RAZAR may need for so many components."""
    return OWN + EACH * components


def shortage(components: int) -> str | None:
    """Say that the limit, once raised as far as it goes, may not be enough for so many components."""
    limit, needed = os.sysconf("SC_OPEN_MAX"), need(components)
    if limit >= needed:
        return None
    return (
        f"the hard limit of {limit} file descriptors is low for {components} components: RAZAR may need "
        f"{needed}; raise it (ulimit -Hn, or LimitNOFILE= of the service)"
    )


def reserve(fd: int) -> None:
    """Keep some descriptors, copies of ``fd``, for :func:`spare`; fewer if there are none left."""
    try:
        while len(_reserve) < RESERVED:
            _reserve.append(os.dup(fd))
    except OSError:
        pass


@contextmanager
def spare(fd: int) -> Iterator[None]:
    """Have the kept descriptors free for a moment; afterwards they are copies of ``fd`` again.

    The end of a process gives descriptors back, but only to who could look whether it has ended.
    """
    while _reserve:
        os.close(_reserve.pop())
    try:
        yield
    finally:
        reserve(fd)


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
