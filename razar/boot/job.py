"""One boot from start to end: environments and Crown, ignition, supervision, stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from razar.boot import stop_signals
from razar.boot.adapters import MissionAdapters
from razar.boot.agreement import Agreement
from razar.boot.layers import Layers
from razar.boot.mission_lock import MissionLock
from razar.boot.options import BootOptions
from razar.boot.outputs import Outputs
from razar.boot.own_faults import LoopFaults
from razar.boot.preparation import PreparationError
from razar.config.model import EnvironmentSpec, MissionConfig
from razar.engine import events
from razar.engine.plan import Plan
from razar.engine.recovery import Remains
from razar.launchers import descriptors, procfs
from razar.recovery_manager import RecoveryManager
from razar.runtime import Clock, Runtime
from razar.utils import redaction

if TYPE_CHECKING:
    from agents.razar.handover import Attempt, Handovers

__all__ = ["Boot"]


#: Seconds that what is not needed for ignition leaves to the ignitions.
QUIET = 0.25
#: Seconds for which a boot that ends at once waits for what memory and core say.
NATIVE_TIME = 5.0


class Boot:
    """The main job. Construct it, then await :meth:`run` once; the mission lock is held by the caller."""

    def __init__(
        self,
        options: BootOptions,
        config: MissionConfig,
        plan: Plan,
        environments: tuple[EnvironmentSpec, ...],
        *,
        boot_id: str,
        lock: MissionLock,
        brief: dict[str, Any] | None,
        logs: str,
        environ: Mapping[str, str],
        outputs: Outputs,
        retry: Callable[..., Awaitable[Attempt]],
    ) -> None:
        self._retry = retry
        self._options = options
        self._config = config
        self._plan = plan
        self._environments = environments
        self._brief = brief
        self._logs = logs
        self._environ = environ
        self._out = outputs
        self._boot_id = boot_id
        self._lock = lock
        self._clock = Clock(outputs.clock_moved)
        #: Whether processes of an earlier supervisor may still be there.
        self.left_behind = False
        self._interrupted: signal.Signals | None = None
        self._told_to_stop = False
        self._preparing: asyncio.Task[None] | None = None
        self._beside: set[asyncio.Task[None]] = set()

    async def run(self, on_settled: Callable[[int], None] = lambda code: None) -> int:
        """Boot, supervise, stop; return the exit code. ``on_settled`` is told the boot's outcome."""
        self._runtime = Runtime(
            self._plan,
            journal=self._out.journal,
            projections=(self._out.fact,),
            changed=self._out.changed,
            clock=self._clock,
        )
        loop = asyncio.get_running_loop()
        stop_signals.take_over(loop, self._on_signal)
        loop.set_exception_handler(LoopFaults(self._out.say))
        try:
            return await self._run(on_settled)
        finally:
            stop_signals.ignore(loop)  # The process is ending anyway.

    async def _run(self, on_settled: Callable[[int], None]) -> int:
        runtime = self._runtime
        async with AsyncExitStack() as lifetime:
            adapters = self._adapters = self._make_adapters()
            runtime.adapters = adapters
            self._layers = Layers(
                self._options,
                self._config,
                self._environments,
                logs=self._logs,
                environ=self._environ,
                outputs=self._out,
                clock=self._clock,
                report=runtime.report,
                use=adapters.use_environment,
            )
            lifetime.push_async_callback(adapters.close)
            lifetime.push_async_callback(self._end_beside)
            machine = procfs.machine_run()
            remains = self._out.remains(machine, self._lock.earlier) if self._lock.unclean else None
            self.left_behind = remains is not None
            runtime.report(events.BootStarted(self._boot_id, self._config.mission, machine))
            for warning in self._config.warnings:
                self._out.warn(warning)
            shortage = descriptors.shortage(len(self._config.components))
            if shortage is not None:
                self._out.warn(shortage)
            self._begin_beside(self._open_endpoints(lifetime))
            self._preparing = asyncio.create_task(self._prepare(lifetime, remains))
            try:
                await self._preparing
            except PreparationError as error:
                return self._abandon(error.code, str(error))
            except asyncio.CancelledError:
                if self._interrupted is None:
                    raise
                how = "razar stop" if self._told_to_stop else self._interrupted.name
                return self._abandon(128 + self._interrupted, f"interrupted by {how}")
            self._asking = self._begin_beside(self._ask_native_services())
            if self._plan.repair:
                self._begin_beside(self._prepare_recovery())
            return await self._supervise(on_settled)

    # -- before the first ignition --------------------------------------------------------------

    async def _prepare(self, lifetime: AsyncExitStack, remains: Remains | None) -> None:
        """Everything that must be there first; environments and Crown at the same time."""
        if remains is not None:
            from razar.boot.left_behind import clear

            await clear(remains, self._plan, self._out.warn)
        await self._recovery.recover(after_crash=remains is not None)
        if remains is not None:
            self._lock.forget_earlier()
        self.left_behind = False
        self._out.trace.phase("prepare")
        crown = asyncio.create_task(self._agreement().reach(lifetime))
        try:
            failures = await self._layers.build()
            if failures:
                raise PreparationError(4, "; ".join(failures))
            handshake = await crown
        except BaseException:
            crown.cancel()
            await asyncio.gather(crown, return_exceptions=True)
            raise
        from razar.boot.conditions import ConditionError, evaluate_conditions

        try:
            skipped = evaluate_conditions(self._config, self._environ, handshake.capabilities)
        except ConditionError as error:
            raise PreparationError(2, str(error)) from None
        now = self._clock()
        held = {
            id: (entry.reason, entry.until)
            for id, entry in handshake.downtime.items()
            if entry.until is None or entry.until > now
        }
        self._out.trace.phase("ignition")
        self._runtime.report(events.IgnitionBegan(skipped, held, self._out.quarantined()))

    def _agreement(self) -> Agreement:
        return Agreement(
            self._config,
            self._plan,
            boot_id=self._boot_id,
            brief=self._brief,
            logs=self._logs,
            environ=self._environ,
            outputs=self._out,
            report=self._runtime.report,
            beside=self._begin_beside,
        )

    # -- beside the boot ------------------------------------------------------------------------

    def _begin_beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def _end_beside(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._out.say("WARN", f"{type(error).__name__} beside the boot: {error}")

    async def _open_endpoints(self, lifetime: AsyncExitStack) -> None:
        """Metrics and control socket: soon, but not in the way of the first ignitions."""
        await _first(self._runtime.settled, self._runtime.stopped, timeout=QUIET)
        descriptors.widen(descriptors.ENOUGH)
        gc.freeze()  # What the start has made stays; a few hundred objects of it are garbage.
        gc.enable()
        from razar.boot.control_endpoint import ControlEndpoint
        from razar.control.server import ControlServer

        server = ControlServer(
            self._runtime,
            path=os.path.join(self._logs, "razar.sock"),
            holders=self._adapters.holders,
            on_stop=self._on_stop,
            release=self._out.release,
            repairs=self._recovery,
        )
        endpoint = ControlEndpoint(
            server,
            self._logs,
            self._lock,
            moved=lambda: self._out.moved(self._runtime.state),
            say=self._out.say,
        )
        lifetime.push_async_callback(endpoint.close)
        await endpoint.open()
        self._out.serve_metrics()
        redaction.prepare()

    async def _ask_native_services(self) -> None:
        """Memory and expression core: the mission does not depend on them."""
        await _first(self._runtime.settled, self._runtime.stopped, timeout=QUIET)
        from razar.boot import native_services

        await native_services.initialise(
            self._logs, report=self._runtime.report, say=self._out.say, span=self._out.trace.child
        )

    async def _prepare_recovery(self) -> None:
        """Have what repairs are made of at hand before the first failure needs it."""
        await _first(self._runtime.settled, self._runtime.stopped, timeout=QUIET)
        await self._recovery.prepare()

    def _make_adapters(self) -> MissionAdapters:
        from razar.health_checks import Prober
        from razar.launchers.local import LocalLauncher

        report = self._runtime.report
        launcher = LocalLauncher(report)
        self._recovery = RecoveryManager(
            self._open_handovers,
            self._retry,
            logs=self._logs,
            report=report,
            say=self._out.say,
            tail=launcher.tail,
            rebuild=self._rebuild,
            traceparent=self._out.trace.traceparent,
        )
        return MissionAdapters(
            self._config,
            self._plan,
            launcher=launcher,
            recovery=self._recovery,
            prober=Prober(report, evaluate=_evaluate, on_probe=self._out.probe),
            logs=self._logs,
            environ=self._environ,
            say=self._out.say,
            quarantine=self._out.quarantine,
            traceparent=self._out.trace.traceparent,
            boot_id=self._boot_id,
        )

    def _open_handovers(self) -> Handovers:
        """What failures are handed over to; imported when there is the first one."""
        from agents.razar.handover import Handovers
        from razar.boot import native_services

        return Handovers(
            self._config,
            logs=self._logs,
            environ=self._environ,
            attempts=self._options.remote_attempts,
            long_task=self._options.long_task,
            interpreter=self._adapters.interpreter,
            memory=lambda: native_services.open_memory(self._logs),
            say=self._out.say,
            span=self._out.trace.child,
            environments=self._options.environments,
        )

    async def _rebuild(self, layer: str) -> str | None:
        return await self._layers.rebuild(layer)

    # -- after it -------------------------------------------------------------------------------

    async def _supervise(self, on_settled: Callable[[int], None]) -> int:
        """Wait for the boot to end, then for a reason to stop, then for the stop."""
        runtime = self._runtime
        await _first(runtime.settled, runtime.stopped)
        settled = runtime.settled.done()
        if settled:
            await self._out.flush()
            on_settled(0 if runtime.settled.result().outcome == "complete" else 1)
            if self._options.exit_after_boot:
                # What a boot finds out of memory and core belongs to its record.
                await _first(self._asking, runtime.stopped, timeout=NATIVE_TIME)
                self._shut_down("--exit-after-boot")
            else:
                await _first(runtime.idle, runtime.stopped)
                if not runtime.stopped.done():
                    self._shut_down("nothing is left to supervise")
        await runtime.stopped
        if not settled and (self._interrupted is not None or self._told_to_stop):
            return 128 + (self._interrupted or signal.SIGTERM)
        if runtime.state.outcome == "complete":
            return 0
        if settled and runtime.settled.result().outcome == "complete":
            self._out.say("ERROR", f"Mission {self._config.mission} failed: {runtime.state.reason}")
        return 1

    def _on_signal(self, number: signal.Signals) -> None:
        first = self._interrupted is None
        if first:
            self._interrupted = number
        if self._preparing is not None and not self._preparing.done():
            if first:  # A second time would cut short how the builds are stopped.
                self._preparing.cancel()
            return
        if first:
            self._out.say("INFO", f"{signal.Signals(number).name}: stopping mission {self._config.mission}")
        self._shut_down(signal.Signals(number).name, hurry=not first)

    def _on_stop(self) -> None:
        """An operator asked for the end of the mission: before the boot has ended that is an interruption."""
        self._told_to_stop = self._told_to_stop or self._interrupted is None
        if self._preparing is not None and not self._preparing.done():
            self._interrupted = self._interrupted or signal.SIGTERM
            self._preparing.cancel()
            return
        self._shut_down("razar stop")

    def _shut_down(self, reason: str, *, hurry: bool = False) -> None:
        self._runtime.report(events.ShutdownRequested(reason, hurry))

    def _abandon(self, code: int, reason: str) -> int:
        """Nothing was ignited: say why and leave."""
        self._out.trace.close("failed" if self._interrupted is None else "interrupted", reason)
        self._out.failed(reason)
        self._runtime.report(events.ShutdownRequested(reason))
        return code


async def _first(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def _evaluate(expression: str, variables: dict[str, Any]) -> object:
    from neoabzu_core import evaluate_py

    return evaluate_py(expression, variables)
