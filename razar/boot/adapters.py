"""Carries out the engine's effects on this machine: launches, probes, signals, quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from razar.boot.component_environment import Interpreter, inherited, launch_spec
from razar.boot.own_faults import describe
from razar.config.model import MissionConfig
from razar.engine import effects, events
from razar.engine.plan import Plan
from razar.health_checks import Prober, ProbeTarget, file_stamp, port_conflict
from razar.launchers.base import Launcher, LaunchError
from razar.projections.wording import Level
from razar.recovery_manager import RecoveryManager

__all__ = ["MissionAdapters"]

#: Seconds a stop may take before the operator is told who holds it up.
PATIENCE = 1.0

Say = Callable[[Level, str], None]


class MissionAdapters:
    """The adapters of one boot; answers go to ``Runtime.report``."""

    def __init__(
        self,
        config: MissionConfig,
        plan: Plan,
        *,
        launcher: Launcher,
        prober: Prober,
        recovery: RecoveryManager,
        logs: str,
        environ: Mapping[str, str],
        say: Say,
        quarantine: Callable[[str, str, tuple[str, ...]], None],
        traceparent: Callable[[str], str | None],
        boot_id: str,
    ) -> None:
        self._config = config
        self._plan = plan
        self._launcher = launcher
        self._prober = prober
        self._recovery = recovery
        self._logs = logs
        self._environ = inherited(environ)
        self._say = say
        self._quarantine = quarantine
        self._traceparent = traceparent
        self._boot_id = boot_id
        self._targets: dict[str, ProbeTarget] = {}
        self._stopping: dict[str, asyncio.TimerHandle] = {}
        self._interpreters: dict[str, Interpreter] = {}

    def use_environment(self, layer: str, python: str, bin: str) -> None:
        """The environment of a layer is there."""
        self._interpreters[layer] = Interpreter(python, bin)

    def interpreter(self, layer: str) -> str | None:
        """The Python of a layer; None if it has no environment of its own."""
        found = self._interpreters.get(layer)
        return None if found is None else found.python

    def holders(self, id: str) -> list[str]:
        """Name the processes of a component that are still there."""
        return self._launcher.holders(id)

    def launch(self, effect: effects.Launch) -> events.Event:
        """Start a process; a port that somebody else holds would make the probe lie, so look first.

        Whatever goes wrong is an answer: without one the component would neither fail nor ever end.
        """
        id, incarnation = effect.component, effect.incarnation
        component = self._plan.components[id]
        try:
            taken = port_conflict(component.probe)
            if taken is not None:
                raise LaunchError(taken)
            notify = self._prober.open_notify(id, incarnation) if component.probe.kind == "notify" else None
            spec = launch_spec(
                component,
                incarnation,
                mission=self._plan.mission,
                boot_id=self._boot_id,
                logs=self._logs,
                interpreter=self._interpreters.get(component.layer),
                environ=self._environ,
                notify_socket=notify,
                traceparent=self._traceparent(id),
            )
            before = file_stamp(component.probe)
            if component.probe.kind != "exit":
                self._prober.load(component.probe.kind)
            started = self._launcher.ignite(spec)
        except LaunchError as error:
            return events.LaunchFailed(id, incarnation, str(error))
        except Exception as error:
            self._launcher.kill(id, incarnation)  # Should there be a process all the same.
            if isinstance(error, OSError):
                return events.LaunchFailed(id, incarnation, f"cannot be started: {error.strerror or error}")
            self._say("ERROR", f"a fault in RAZAR: the launch of {id}: {describe(error)}")
            return events.LaunchFailed(
                id, incarnation, f"cannot be started: {type(error).__name__} in RAZAR; see its log"
            )
        self._forget_stop(id)  # The incarnation before has ended, or there would be no new one.
        self._targets[id] = ProbeTarget(
            component=id,
            incarnation=incarnation,
            probe=component.probe,
            cwd=spec.cwd,
            env=spec.env,
            log=spec.log,
            log_offset=started.log_offset,
            launched_ns=started.launched_ns,
            launched_at=asyncio.get_running_loop().time(),
            before=before,
        )
        return events.Spawned(id, incarnation, started.pid, started.start_time, spec.nonce)

    def probe(self, effect: effects.Probe) -> None:
        """Begin to probe the incarnation that was launched last."""
        target = self._targets.get(effect.component)
        if target is not None and target.incarnation == effect.incarnation:
            self._prober.start(target, effect.phase)

    def stop_probing(self, effect: effects.StopProbing) -> None:
        """Stop probing; the incarnation is ending or has ended."""
        self._prober.stop(effect.component, effect.incarnation)

    def signal(self, effect: effects.Signal | effects.Kill) -> None:
        """Signal an incarnation, and after a while tell who holds up its end."""
        id, incarnation = effect.component, effect.incarnation
        if isinstance(effect, effects.Kill):
            self._say("WARN", f"{id} has not stopped within its grace period: KILL")
            self._launcher.kill(id, incarnation)
            return
        self._launcher.signal(id, incarnation, effect.signal)
        self._forget_stop(id)
        self._stopping[id] = asyncio.get_running_loop().call_later(PATIENCE, self._name_holders, id)

    def _forget_stop(self, id: str) -> None:
        waiting = self._stopping.pop(id, None)
        if waiting is not None:
            waiting.cancel()

    def _name_holders(self, id: str) -> None:
        self._stopping.pop(id, None)
        holders = self._launcher.holders(id)
        if holders:
            self._say("INFO", f"Waiting for {id} to stop: {', '.join(holders)}")

    def repair(self, effect: effects.RequestRepair | effects.CancelRepair | effects.SettleRepair) -> None:
        """Hand a failure to repair, call that off, or keep or undo a patch."""
        self._recovery.carry_out(effect)

    def quarantine(self, effect: effects.Quarantine) -> None:
        """Record a component that was given up."""
        self._quarantine(effect.component, effect.error, self._launcher.tail(effect.component))

    async def close(self) -> None:
        """Release timers, probes and the launcher.

        Every component has been stopped before, unless a fault of RAZAR itself ends the boot: what
        runs then has nobody to look after it, so it is killed.
        """
        for id, target in self._targets.items():
            if self._launcher.holders(id):
                self._launcher.kill(id, target.incarnation)
        for handle in self._stopping.values():
            handle.cancel()
        await self._recovery.close()
        await self._prober.close()
        await self._launcher.close()
