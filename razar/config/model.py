"""The configuration as the rest of RAZAR sees it: normalised, immutable, every default filled in.

The shapes of the files themselves are in :mod:`razar.config.wire`; ``load.py`` turns one into
the other. Durations are seconds, sizes are bytes, paths are absolute.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "RUNGS",
    "Component",
    "Condition",
    "CrownSettings",
    "Dependency",
    "EnvironmentSpec",
    "Limits",
    "MissionConfig",
    "Probe",
    "ProbeKind",
    "RepairScope",
    "RepairSettings",
    "Restart",
    "Stop",
]

Condition = Literal["healthy", "started", "completed"]
ProbeKind = Literal["http", "tcp", "grpc", "ws", "file", "cmd", "log", "notify", "exit"]
Approval = Literal["auto", "ask", "never"]


class Probe(Struct, frozen=True, kw_only=True):
    """How to tell that a component is healthy.

    ``target`` is the URL, ``host:port``, absolute path, or pattern of the probe; ``argv`` is
    filled for ``cmd`` only. ``notify`` and ``exit`` have neither.
    """

    kind: ProbeKind
    target: str = ""
    argv: tuple[str, ...] = ()
    expect: str | None = None
    interval: float = 10.0
    timeout: float = 1.0
    deadline: float = 60.0
    failures: int = 3
    successes: int = 1


class Dependency(Struct, frozen=True):
    """An edge of the graph: wait for ``id`` to reach ``condition``."""

    id: str
    condition: Condition = "healthy"


class Restart(Struct, frozen=True, kw_only=True):
    """When a component that died is started again, and how eagerly."""

    policy: Literal["on-failure", "always", "never"] = "on-failure"
    backoff: float = 0.5
    max_backoff: float = 30.0
    limit: int = 5
    window: float = 600.0


class Stop(Struct, frozen=True, kw_only=True):
    """How a component is asked to stop; ``signal`` is a name without ``SIG``."""

    signal: str = "TERM"
    grace: float = 10.0


class RepairScope(Struct, frozen=True, kw_only=True):
    """What a repair agent may touch in one component, and which commands prove a patch."""

    paths: tuple[str, ...] = ()
    tests: tuple[tuple[str, ...], ...] = ()
    approval: Approval = "auto"


class Limits(Struct, frozen=True, kw_only=True):
    """Resource limits of a component; ``None`` means inherited."""

    memory: int | None = None
    cpu: float | None = None
    files: int | None = None
    processes: int | None = None


class Component(Struct, frozen=True, kw_only=True):
    """One thing to ignite. ``env`` holds only what the file adds to the inherited environment."""

    id: str
    layer: str
    argv: tuple[str, ...]
    probe: Probe
    kind: Literal["service", "task"] = "service"
    depends_on: tuple[Dependency, ...] = ()
    criticality: Literal["required", "optional"] = "required"
    when: str | None = None
    env: dict[str, str] = {}
    cwd: str = "."
    restart: Restart = Restart()
    stop: Stop = Stop()
    retries: int = 2
    repair: RepairScope | None = None
    limits: Limits = Limits()


class CrownSettings(Struct, frozen=True, kw_only=True):
    """Who the mission is agreed with. ``url`` is None for the embedded Crown."""

    url: str | None = None
    policy: Literal["required", "optional", "off"] = "required"
    timeout: float = 10.0
    required_model: str | None = "GLM-4.1V"
    model_launcher: str | None = None


#: Whom a ladder may name: the memory of past repairs, and the agents.
RUNGS = ("memory", "opencode", "acp", "kimi2", "airstar", "rstar")


class RepairSettings(Struct, frozen=True, kw_only=True):
    """Repair settings of the whole mission; ``budget`` bounds what the agents may use up."""

    ladder: tuple[str, ...] | None = None
    attempts: int | None = None
    budget: dict[str, float] = {}
    approval: Approval | None = None


class MissionConfig(Struct, frozen=True, kw_only=True):
    """A whole boot_config.json. ``root`` is the folder it lies in, ``path`` the file.

    ``warnings`` are for people: nothing is wrong, but something is odd.
    """

    mission: str
    components: tuple[Component, ...]
    root: str
    path: str
    ignition: Literal["sequential", "parallel"] = "sequential"
    crown: CrownSettings = CrownSettings()
    repair: RepairSettings = RepairSettings()
    warnings: tuple[str, ...] = ()


class EnvironmentSpec(Struct, frozen=True, kw_only=True):
    """One entry of razar_env.yaml."""

    layer: str
    python: str
    dependencies: tuple[str, ...] = ()
