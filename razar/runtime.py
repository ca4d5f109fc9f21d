"""The one loop: take an event, ask the engine, write the journal, carry out the effects, tell the facts."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from razar.engine import effects, events
from razar.engine.facts import Fact, MissionSettled, MissionStopped
from razar.engine.mission import anything_left, initial, step
from razar.engine.plan import Plan
from razar.engine.state import MissionState

__all__ = ["Adapters", "Clock", "Projection", "Runtime"]

#: Turns of the loop between two launches. A launch holds the loop for a millisecond, a turn without one
#: for a few microseconds, and a probe needs several turns: with a launch in each it would wait for all.
TURNS = 4


#: Seconds by which the wall clock may be off before its new time is taken over.
STEP = 1.0
#: Seconds between two looks at whether a hold that ends at a certain time of day has ended.
HOLD_LOOK = 60.0


class Clock:
    """Epoch seconds, carried on by the monotonic clock, which a short adjustment of the time does not disturb.

    A machine that has slept, or whose time was set, is more than a second off: its time is taken over,
    and ``told`` is given the seconds by which it has moved, once for each move. So the seconds may jump,
    also backwards; what lasts a certain time is left to the loop's timers, which do not.
    """

    def __init__(self, told: Callable[[float], None] = lambda moved: None) -> None:
        self._told = told
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the current epoch seconds."""
        now = time.monotonic() + self._offset
        moved = time.time() - now
        if -STEP < moved < STEP:
            return now
        self._offset += moved
        self._told(moved)
        return now + moved


#: Shows the facts to somebody (log, console, state file, metrics, traces); given the state after them.
Projection = Callable[[Fact, MissionState], None]


class Recorder(Protocol):
    """The journal."""

    def append(self, event: events.Event, at: float, jitter: float) -> object:
        """Write one event before its effects are carried out."""


class Adapters(Protocol):
    """Carries out effects, and answers with events through ``Runtime.report``."""

    def launch(self, effect: effects.Launch) -> events.Event:
        """Start a process; return Spawned or LaunchFailed."""

    def probe(self, effect: effects.Probe) -> None:
        """Begin to probe."""

    def stop_probing(self, effect: effects.StopProbing) -> None:
        """Stop probing."""

    def signal(self, effect: effects.Signal | effects.Kill) -> None:
        """Signal or kill an incarnation."""

    def repair(self, effect: effects.RequestRepair | effects.CancelRepair | effects.SettleRepair) -> None:
        """Hand a failure to repair, call that off, or keep or undo a patch."""

    def quarantine(self, effect: effects.Quarantine) -> None:
        """Record a component that was given up."""


def _jitter() -> float:
    """Draw from [0, 1); the kernel is asked because importing ``random`` takes longer than a whole boot may."""
    return int.from_bytes(os.urandom(6), "big") / 2.0**48


class Runtime:
    """Owns the mission's state; everything that changes it goes through :meth:`report`."""

    def __init__(
        self,
        plan: Plan,
        *,
        journal: Recorder,
        projections: Sequence[Projection],
        changed: Callable[[MissionState], None] = lambda state: None,
        clock: Clock,
    ) -> None:
        self.plan = plan
        self.state: MissionState = initial(plan)
        self.settled: asyncio.Future[MissionSettled] = asyncio.get_running_loop().create_future()
        self.stopped: asyncio.Future[MissionStopped] = asyncio.get_running_loop().create_future()
        #: Resolved when a settled mission has nothing left to supervise.
        self.idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.adapters: Adapters | None = None
        self._journal = journal
        self._projections = list(projections)
        self._changed = changed
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._jitter = _jitter
        self._inbox: deque[events.Event] = deque()
        self._draining = False
        self._launches: deque[effects.Launch] = deque()
        self._timers: dict[tuple[str, int, str], asyncio.TimerHandle] = {}

    def report(self, event: events.Event) -> None:
        """Take an event from an adapter; call on the loop's thread only."""
        self._inbox.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._inbox:
                self._take(self._inbox.popleft())
        finally:
            self._draining = False

    def _take(self, event: events.Event) -> None:
        now, jitter = self._clock(), self._jitter()
        outcome = step(self.plan, self.state, event, now, jitter)
        if outcome.state is self.state and not outcome.effects:
            return
        self._journal.append(event, now, jitter)
        self.state = outcome.state
        self._changed(outcome.state)
        for effect in outcome.effects:
            self._carry_out(effect, now)
        for fact in outcome.facts:
            for projection in tuple(self._projections):
                projection(fact, self.state)
            self._announce(fact)
        if self.state.phase == "settled" and not self.idle.done() and not anything_left(self.state):
            self.idle.set_result(None)

    def _announce(self, fact: Fact) -> None:
        if isinstance(fact, MissionSettled) and not self.settled.done():
            self.settled.set_result(fact)
        elif isinstance(fact, MissionStopped) and not self.stopped.done():
            self.stopped.set_result(fact)

    def _carry_out(self, effect: effects.Effect, now: float) -> None:
        adapters = self.adapters
        assert adapters is not None, "the runtime is used before its adapters are there"
        match effect:
            case effects.Launch():
                self._launches.append(effect)
                if len(self._launches) == 1:
                    self._loop.call_soon(self._launch_next, 0)
            case effects.Probe():
                adapters.probe(effect)
            case effects.StopProbing():
                adapters.stop_probing(effect)
            case effects.Signal() | effects.Kill():
                adapters.signal(effect)
            case effects.SetTimer():
                # From the instant of the event: the clock may have moved since.
                self._set_timer(effect, effect.at - now)
            case effects.CancelTimer(component, incarnation, timer):
                handle = self._timers.pop((component, incarnation, timer), None)
                if handle is not None:
                    handle.cancel()
            case effects.RequestRepair() | effects.CancelRepair() | effects.SettleRepair():
                adapters.repair(effect)
            case effects.Quarantine():
                adapters.quarantine(effect)

    def _launch_next(self, turns: int = TURNS) -> None:
        """Launch one of many, after some turns of the loop in which probes and operators are answered."""
        if turns > 0:
            self._loop.call_soon(self._launch_next, turns - 1)
            return
        assert self.adapters is not None
        launch = self._launches.popleft()
        if self._launches:
            self._loop.call_soon(self._launch_next)
        self.report(self.adapters.launch(launch))

    def _set_timer(self, effect: effects.SetTimer, left: float) -> None:
        key = (effect.component, effect.incarnation, effect.timer)
        previous = self._timers.pop(key, None)
        if previous is not None:
            previous.cancel()

        # Crown names the time of day at which a hold ends; every other timer lasts as long as it lasts.
        hold = effect.timer == "held"

        def fire() -> None:
            if hold and (still := effect.at - self._clock()) > 0:
                self._set_timer(effect, still)
                return
            self._timers.pop(key, None)
            self.report(events.TimerFired(effect.component, effect.incarnation, effect.timer))

        delay = min(left, HOLD_LOOK) if hold else left
        self._timers[key] = self._loop.call_later(max(0.0, delay), fire)

    def follow(self, projection: Projection) -> Callable[[], None]:
        """Tell the facts to one more listener, until the returned function is called."""
        self._projections.append(projection)
        return lambda: self._projections.remove(projection)
