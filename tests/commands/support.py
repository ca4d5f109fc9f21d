"""A mission without processes, served on a real control socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from razar.config.model import Component, Dependency, MissionConfig, Probe, Restart, Stop
from razar.control.address import SOCKET_NAME
from razar.control.server import ControlServer
from razar.engine import effects, events
from razar.engine.plan import compile_plan
from razar.runtime import Clock, Runtime
from tests.support.waiting import until

__all__ = ["House", "ask", "component", "house"]


def component(id: str, *depends_on: str, **changes: Any) -> Component:
    """A component that is healthy as soon as it is there, and is not restarted by itself."""
    settings: dict[str, Any] = {
        "layer": "core",
        "argv": ("true",),
        "probe": Probe(kind="log", target="ready"),
        "depends_on": tuple(Dependency(other) for other in depends_on),
        "restart": Restart(policy="never"),
        "stop": Stop(grace=30.0),
        "retries": 0,
    }
    return Component(id=id, **(settings | changes))


class _Journal:
    def append(self, event: events.Event, at: float, jitter: float) -> None:
        """Nothing is kept."""


class House:
    """Adapters whose processes exist in name only; ``stubborn`` ones ignore everything but KILL."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.stubborn: set[str] = set()
        self.broken: set[str] = set()
        self.slow: set[str] = set()
        self.signals: list[str] = []
        self.released: list[tuple[str, str]] = []
        #: In the record of the quarantine, and not in quarantine.
        self.recorded: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._pid = 1000

    def launch(self, effect: effects.Launch) -> events.Event:
        if effect.component in self.broken:
            return events.LaunchFailed(effect.component, effect.incarnation, "no such file")
        self._pid += 1
        return events.Spawned(effect.component, effect.incarnation, self._pid, 1)

    def probe(self, effect: effects.Probe) -> None:
        if effect.component not in self.slow:
            self._soon(events.ProbePassed(effect.component, effect.incarnation))

    def stop_probing(self, effect: effects.StopProbing) -> None:
        """No probe runs for longer than an instant."""

    def signal(self, effect: effects.Signal | effects.Kill) -> None:
        self.signals.append(effect.component)
        if isinstance(effect, effects.Kill) or effect.component not in self.stubborn:
            self._soon(events.Exited(effect.component, effect.incarnation, 0))

    def repair(self, effect: object) -> None:
        raise AssertionError("no repairs here")

    def quarantine(self, effect: effects.Quarantine) -> None:
        """The engine's own state is enough here."""

    def holders(self, id: str) -> list[str]:
        return [f"pid {self.runtime.state.components[id].pid} (stubborn {id})"]

    def release(self, id: str, note: str) -> bool:
        if self.state(id) != "quarantined" and id not in self.recorded:
            return False
        self.released.append((id, note))
        return True

    def die(self, id: str) -> None:
        """End a component's process."""
        incarnation = self.runtime.state.components[id].incarnation
        self.runtime.report(events.Exited(id, incarnation, 1))

    def state(self, id: str) -> str:
        return self.runtime.state.components[id].state

    def _soon(self, event: events.Event) -> None:
        self._loop.call_soon(self.runtime.report, event)


@asynccontextmanager
async def house(
    folder: Path, *components: Component, owner: int | None = None, boot: bool = True
) -> AsyncIterator[House]:
    """A mission that has booted, and its control socket in ``folder``."""
    config = MissionConfig(
        mission="demo", components=components, root="/", path="/boot_config.json", ignition="parallel"
    )
    runtime = Runtime(compile_plan(config), journal=_Journal(), projections=(), clock=Clock())
    adapters = runtime.adapters = House(runtime)
    server = ControlServer(
        runtime,
        path=os.path.join(folder, SOCKET_NAME),
        holders=adapters.holders,
        on_stop=lambda: runtime.report(events.ShutdownRequested("razar stop")),
        release=lambda id, note: adapters.release(id, note),
        owner=owner,
    )
    await server.start()
    try:
        runtime.report(events.BootStarted("boot-1", "demo"))
        if boot:
            runtime.report(events.IgnitionBegan())
            await until(lambda: runtime.settled.done())
        yield adapters
    finally:
        await server.close()


async def ask(folder: Path, request: Any) -> list[dict[str, Any]]:
    """Send one request (raw bytes as they are) and return every line of the answer."""
    reader, writer = await asyncio.open_unix_connection(os.path.join(folder, SOCKET_NAME))
    writer.write(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
    lines = []
    async with asyncio.timeout(20):
        while line := await reader.readline():
            lines.append(json.loads(line))
            if "ok" in lines[-1]:
                break
    writer.close()
    return lines
