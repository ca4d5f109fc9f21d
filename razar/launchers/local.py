"""Components as processes on this machine: ignite, observe, stop, logs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal as signals
import time

from razar.config.model import Limits
from razar.engine.events import Exited
from razar.launchers import descendants, limits, logs, processes
from razar.launchers.base import Launched, LaunchError, LaunchSpec, Report
from razar.launchers.child_signal import ChildSignal
from razar.launchers.log_watch import LogWatch

__all__ = ["LocalLauncher"]

#: Seconds between two looks at orphans while anything runs, should SIGCHLD not be heard.
ROUND = 60.0
#: Seconds that processes without a component get to disappear after KILL when all is closed.
STRAY_TIME = 1.0
#: Looks at them in any case, however long they take: to see them, to see them again, to see them gone.
STRAY_LOOKS = 3
#: Lines of log that go with the report of an end.
TAIL = 20

CLOCK_REALTIME_COARSE = 5  # clock_gettime(2): what the kernel stamps files with

_log = logging.getLogger(__name__)
_UNLIMITED = Limits()


class _Incarnation:
    """A component's living process and its log."""

    __slots__ = ("family", "log", "number", "since")

    def __init__(self, number: int, family: descendants.Family, log: logs.LogFile, since: int) -> None:
        self.number = number
        self.family = family
        self.log = log
        self.since = since


class LocalLauncher:
    """Starts every component in a session of its own, with its output going straight to its log.

    When the first process of a component ends by itself, the rest of its family is killed; after
    :meth:`signal` the rest gets the same signal and is waited for. One ``Exited`` per incarnation
    is reported, when nobody is left.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._living: dict[str, _Incarnation] = {}
        self._last: dict[str, _Incarnation] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rotations: dict[str, asyncio.Future[bool]] = {}
        self._watch = LogWatch(self._written)
        self._ends = ChildSignal(self._reap)

    def ignite(self, spec: LaunchSpec) -> Launched:
        """Start a process; raises LaunchError if there is none."""
        living = self._living.get(spec.component)
        if living is not None:
            holders = ", ".join(living.family.holders())
            raise LaunchError(f"incarnation {living.number} is still there: {holders}")
        log = logs.log_file(spec.log)
        fd, since = log.open()
        launched_ns = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
        gate: limits.Gate | None = None
        self._ends.start()  # Before there is anybody: the end of an orphan is told once only.
        try:
            if spec.limits != _UNLIMITED:
                gate = limits.Gate()
            argv = gate.command(spec.argv, spec.cwd, spec.env) if gate is not None else spec.argv
            stdin = gate.stdin if gate is not None else None
            child = processes.spawn(argv, cwd=spec.cwd, env=spec.env, stdin=stdin, stdout=fd, stderr=fd)
            if gate is not None:
                self._pass_gate(gate, child, spec)
        except (OSError, ValueError) as error:
            path = spec.env.get("PATH")
            raise LaunchError(processes.explain(error, spec.argv, spec.cwd, path)) from None
        finally:
            os.close(fd)
            if gate is not None:
                gate.close()
        family = descendants.Family(child, spec.nonce, lambda status: self._gone(spec.component, status))
        incarnation = _Incarnation(spec.incarnation, family, log, since)
        self._living[spec.component] = self._last[spec.component] = incarnation
        self._watch.watch(spec.component, spec.log)
        if self._timer is None:
            self._look_later()
        return Launched(
            pid=child.pid,
            start_time=child.start_time,
            log_offset=log.offset(since),
            launched_ns=launched_ns,
        )

    def signal(self, component: str, incarnation: int, signal: str) -> None:
        """Send a signal (a name without ``SIG``) to every process of the component."""
        family = self._family(component, incarnation)
        if family is not None:
            family.signal(signals.Signals[f"SIG{signal}"])

    def kill(self, component: str, incarnation: int) -> None:
        """KILL every process of the component."""
        family = self._family(component, incarnation)
        if family is not None:
            family.kill()

    def holders(self, component: str) -> list[str]:
        """Name the processes that are still there, as ``pid 4711 (command)``."""
        living = self._living.get(component)
        return living.family.holders() if living is not None else []

    def tail(self, component: str, lines: int = TAIL) -> tuple[str, ...]:
        """Read the last lines of the newest incarnation."""
        last = self._last.get(component)
        return last.log.tail(last.since, lines) if last is not None else ()

    async def rotate(self, component: str) -> bool:
        """Rotate the component's log while it runs; True if anything was moved."""
        last = self._last.get(component)
        return await self._rotation(component, last.log) if last is not None else False

    async def close(self) -> None:
        """Stop looking after logs, and KILL processes that came from a component no one can name."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ends.close()
        self._watch.close()
        while self._rotations:
            await asyncio.wait(self._rotations.values())
        clock = asyncio.get_running_loop().time
        until = clock() + STRAY_TIME
        told: set[str] = set()
        left, looks = True, 0
        while left and (looks < STRAY_LOOKS or clock() < until):
            looks += 1
            try:
                names, left = descendants.kill_strays()
            except OSError as error:
                _log.warning("what components left behind cannot be looked for: %s", error.strerror)
                break
            told.update(names)
            if left:
                await asyncio.sleep(0.001)
        for name in sorted(told):
            _log.warning("killed %s, left behind by a component that has ended", name)

    def _pass_gate(self, gate: limits.Gate, child: processes.Child, spec: LaunchSpec) -> None:
        try:
            gate.open(child.pid, spec.limits)
        except LaunchError:
            descendants.Family(child, spec.nonce, _forget).kill()
            raise

    def _family(self, component: str, incarnation: int) -> descendants.Family | None:
        living = self._living.get(component)
        return living.family if living is not None and living.number == incarnation else None

    def _gone(self, component: str, status: processes.Status) -> None:
        incarnation = self._living.pop(component)
        self._watch.forget(component)
        tail = incarnation.log.tail(incarnation.since, TAIL)
        self._report(Exited(component, incarnation.number, status.code, status.signal, tail))

    def _rotation(self, component: str, log: logs.LogFile) -> asyncio.Future[bool]:
        running = self._rotations.get(component)
        if running is None:
            # Copying and syncing wait for the disk: not on the loop.
            running = asyncio.get_running_loop().run_in_executor(None, log.rotate)
            self._rotations[component] = running
            running.add_done_callback(lambda done: self._rotated(component, done))
        return running

    def _rotated(self, component: str, done: asyncio.Future[bool]) -> None:
        del self._rotations[component]
        if done.result():
            self._written(component)  # What came meanwhile was not looked at.

    def _written(self, component: str) -> None:
        """Rotate a log that has become large."""
        incarnation = self._living.get(component)
        if incarnation is not None and incarnation.log.size() >= logs.ROTATE_AT:
            self._rotation(component, incarnation.log)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(ROUND, self._look_around)

    def _reap(self) -> None:
        """Reap orphans that have ended."""
        try:
            processes.adopted()
        except OSError:
            pass  # No descriptor is left to look with; the next round will do.

    def _look_around(self) -> None:
        self._timer = None
        self._reap()
        if self._living:
            self._look_later()


def _forget(status: processes.Status) -> None:
    """Take note of the end of a process that never became an incarnation."""
