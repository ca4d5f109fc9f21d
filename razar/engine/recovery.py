"""What an earlier boot left behind, as its journal tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from razar.engine.events import BootStarted, Event, Exited, Spawned

__all__ = ["Remains", "remains", "survivors"]


class Remains(Struct, frozen=True):
    """By what the processes of earlier boots can be told.

    ``spawned`` are the incarnations whose end nobody has seen. A supervisor that is killed right
    after a start has not written that start down: ``boots`` are the ids that nonces begin with.
    """

    spawned: Sequence[Spawned]
    boots: frozenset[str]


def remains(tape: Sequence[Event], machine: str, boots: Iterable[str] = ()) -> Remains:
    """Return what tells the processes of earlier boots; ``machine`` as in :func:`survivors`.

    ``boots`` are ids of boots that are known from elsewhere: a full disk keeps them out of the journal.
    """
    told = (event for event in tape if isinstance(event, BootStarted) and event.machine == machine)
    return Remains(survivors(tape, machine), frozenset(event.boot_id for event in told).union(boots))


def survivors(tape: Iterable[Event], machine: str) -> list[Spawned]:
    """Return the incarnations that were started and not seen to end, of boots of this run of the machine.

    ``machine`` is the kernel's boot id; processes of another run are gone, and their pids mean nothing.
    """
    alive: dict[tuple[str, int, int], Spawned] = {}
    same_run = False
    latest: dict[tuple[str, int], Spawned] = {}
    for event in tape:
        match event:
            case BootStarted():
                same_run = event.machine == machine
                latest.clear()
            case Spawned() if same_run:
                alive[event.component, event.incarnation, event.pid] = event
                latest[event.component, event.incarnation] = event
            case Exited():
                ended = latest.pop((event.component, event.incarnation), None)
                if ended is not None:
                    alive.pop((ended.component, ended.incarnation, ended.pid), None)
            case _:
                pass
    return list(alive.values())
