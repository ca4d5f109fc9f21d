"""Probes components until they are ready and while they live, and reports what has changed."""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import msgspec

from razar.config.model import ProbeKind
from razar.engine.events import ProbeFailed, ProbePassed
from razar.launchers.base import Report
from razar.probes.base import Check, ProbeError, ProbeTarget
from razar.probes.expectation import Evaluate, Expectation
from razar.probes.file import file_stamp
from razar.probes.notify_socket import NotifySocket
from razar.probes.ports import port_conflict

if TYPE_CHECKING:
    from razar.probes.listeners import Listeners

__all__ = ["ProbeTarget", "Prober", "file_stamp", "port_conflict"]

#: Readiness: the first probe FIRST seconds after the launch, for nobody is ready sooner; then pauses of GROWTH
#: times the time waited so far.
FIRST = 0.0005
SHORTEST = 0.001
GROWTH = 0.05
LONGEST = 0.25
#: Seconds of pause per component that is being probed: half a core at most goes into asking.
PACE = 50e-6
#: Seconds between two reports of failures that differ.
REPORT_INTERVAL = 1.0

_CHECKS: dict[ProbeKind, tuple[str, str]] = {
    "http": ("http", "HttpCheck"),
    "tcp": ("tcp", "TcpCheck"),
    "grpc": ("grpc", "GrpcCheck"),
    "ws": ("ws", "WsCheck"),
    "file": ("file", "FileCheck"),
    "cmd": ("cmd", "CmdCheck"),
    "log": ("log", "LogCheck"),
    "notify": ("notify", "NotifyCheck"),
}

_log = logging.getLogger(__name__)

Phase = Literal["readiness", "liveness"]
#: Gets component, ``passed`` or ``failed``, and the seconds the probe took.
OnProbe = Callable[[str, str, float], None]


class _Probing:
    """One component being probed; ``last`` is the outcome of the last attempt, None before the first."""

    def __init__(self, target: ProbeTarget, check: Check, expectation: Expectation | None) -> None:
        self.target = target
        self.check = check
        self.expectation = expectation
        #: The port that nobody listened on at the last attempt.
        self.unheard: int | None = None
        self.task: asyncio.Task[None] | None = None


class Prober:
    """One task per component that is being probed; probes of one component never overlap.

    Readiness: every pass is reported, a failure only if its text differs from the last one that was
    reported. Liveness: every failure is reported, and the first pass after one.
    """

    def __init__(self, report: Report, *, evaluate: Evaluate, on_probe: OnProbe | None = None) -> None:
        self._report = report
        self._evaluate = evaluate
        self._on_probe = on_probe
        self._probing: dict[str, _Probing] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._sockets: dict[str, tuple[int, NotifySocket]] = {}
        self._asking = 0
        self._listeners: Listeners | None = None

    def open_notify(self, component: str, incarnation: int) -> str:
        """Open the socket on which an incarnation will say READY=1; return the value of NOTIFY_SOCKET."""
        self._close_notify(component)
        socket = NotifySocket()
        self._sockets[component] = (incarnation, socket)
        return socket.address

    @staticmethod
    def load(kind: ProbeKind) -> Callable[[ProbeTarget], Check]:
        """Load what probes of a kind take; before a launch, so that the component need not wait for it."""
        module, name = _CHECKS[kind]
        check: Callable[[ProbeTarget], Check] = getattr(import_module(f"razar.probes.{module}"), name)
        return check

    def start(self, target: ProbeTarget, phase: Phase) -> None:
        """Probe until stopped or replaced."""
        previous = self._probing.get(target.component)
        self._stop(target.component)
        if target.probe.kind == "exit":
            return
        number, socket = self._sockets.get(target.component, (None, None))
        if target.notify is None and number == target.incarnation:
            target = msgspec.structs.replace(target, notify=socket)
        try:
            # It is made for one incarnation, whatever the phase.
            check: Check = (
                previous.check
                if previous is not None and previous.target is target
                else self.load(target.probe.kind)(target)
            )
        except (ProbeError, ValueError) as error:
            # What else there is to say about a bad URL might quote its password.
            reason = str(error) if isinstance(error, ProbeError) else "its address is not valid"
            self._report(ProbeFailed(target.component, target.incarnation, f"cannot probe: {reason}"))
            return
        if phase == "liveness" and not check.revocable:
            return
        expect = target.probe.expect
        probing = _Probing(target, check, Expectation(expect, self._evaluate) if expect is not None else None)
        self._probing[target.component] = probing
        work = self._readiness(probing) if phase == "readiness" else self._liveness(probing)
        probing.task = asyncio.get_running_loop().create_task(work)

    def stop(self, component: str, incarnation: int) -> None:
        """Stop probing an incarnation; nothing about it is reported any more."""
        probing = self._probing.get(component)
        if probing is not None and probing.target.incarnation == incarnation:
            self._stop(component)

    async def close(self) -> None:
        """Stop all probes, and wait until no process of theirs is left."""
        for component in list(self._probing):
            self._stop(component)
        if self._ending:
            await asyncio.wait(self._ending)
        for component in list(self._sockets):
            self._close_notify(component)

    def _stop(self, component: str) -> None:
        probing = self._probing.pop(component, None)
        if probing is None or probing.task is None or probing.task.done():
            return
        if probing.task is not asyncio.current_task():  # One that reports sees for itself.
            self._ending.add(probing.task)
            probing.task.add_done_callback(self._ending.discard)
            probing.task.cancel()

    def _close_notify(self, component: str) -> None:
        _, socket = self._sockets.pop(component, (None, None))
        if socket is not None:
            socket.close()

    def _is_current(self, probing: _Probing) -> bool:
        return self._probing.get(probing.target.component) is probing

    async def _readiness(self, probing: _Probing) -> None:
        target, check = probing.target, probing.check
        clock = asyncio.get_running_loop().time
        began = clock()
        told: str | None = None
        told_at = began - REPORT_INTERVAL
        self._asking += 1
        try:
            passed = 0.0 if target.launched_at is None else began - target.launched_at
            await check.pause(max(0.0, FIRST - passed))
            while True:
                started = clock()
                error = await self._attempt(probing)
                now = clock()
                if not self._is_current(probing):
                    return
                if error is None:
                    self._report(ProbePassed(target.component, target.incarnation))
                elif error != told and now - told_at >= REPORT_INTERVAL:
                    told, told_at = error, now
                    self._report(ProbeFailed(target.component, target.incarnation, error))
                if not self._is_current(probing):
                    return
                pause = min(LONGEST, max(SHORTEST, GROWTH * (now - began), PACE * self._asking))
                if probing.unheard is not None:
                    await self._heard(probing.unheard, began, pause)
                else:
                    await check.pause(max(pause, check.rest * (now - started)))
        finally:
            self._asking -= 1

    async def _heard(self, port: int, began: float, pause: float) -> None:
        if self._listeners is None:
            from razar.probes.listeners import Listeners

            self._listeners = Listeners()
        await self._listeners.wait(port, began, pause, self._asking)

    async def _liveness(self, probing: _Probing) -> None:
        target, check = probing.target, probing.check
        clock = asyncio.get_running_loop().time
        interval = target.probe.interval
        # Components that were started together are not probed together for ever.
        spread = zlib.crc32(target.component.encode()) / 2**32
        next_at = clock() + interval * (0.75 + 0.5 * spread)
        failed = False
        while True:
            await check.pause(max(0.0, next_at - clock()))
            error = await self._attempt(probing)
            if not self._is_current(probing):
                return
            if error is not None:
                self._report(ProbeFailed(target.component, target.incarnation, error))
            elif failed:
                self._report(ProbePassed(target.component, target.incarnation))
            if not self._is_current(probing):
                return
            failed = error is not None
            next_at = max(next_at + interval, clock())

    async def _attempt(self, probing: _Probing) -> str | None:
        """Probe once; return why it failed, None if it passed."""
        check, probe = probing.check, probing.target.probe
        started = time.perf_counter()
        error: str | None = None
        probing.unheard = None
        try:
            if check.keeps_time:
                answer = await check.attempt()
            else:
                async with asyncio.timeout(probe.timeout):
                    answer = await check.attempt()
            if probing.expectation is None or not probing.expectation.decides_status:
                check.judge(answer)
            if probing.expectation is not None:
                probing.expectation.check(answer, time.perf_counter() - started)
        except ProbeError as failure:
            error = str(failure)
            probing.unheard = failure.unheard
        except TimeoutError:
            error = f"no answer within {probe.timeout:g} s"
        except OSError as failure:
            error = f"the probe could not be made: {failure.strerror}"
        except Exception:
            _log.exception("the probe of %s", probing.target.component)
            error = "the probe could not be made because of a fault in RAZAR; see its log"
        if self._on_probe is not None:
            outcome = "passed" if error is None else "failed"
            self._on_probe(probing.target.component, outcome, time.perf_counter() - started)
        return error
