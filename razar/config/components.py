"""One component as written to one component as the rest of RAZAR sees it."""

from __future__ import annotations

import os

from msgspec import UNSET

from razar.config.collector import Pointer
from razar.config.context import Context
from razar.config.faults import ConfigurationError, describe, quote
from razar.config.model import Approval, Component, Dependency, Limits, Probe, RepairScope, Restart, Stop
from razar.config.probes import normalise_probe
from razar.config.units import size_bytes
from razar.config.wire import (
    ComponentEntry,
    DependencyEntry,
    LimitsEntry,
    ProbeEntry,
    RepairScopeEntry,
    RestartEntry,
    StopEntry,
    is_set,
)

__all__ = ["normalise_component"]

_HALTING = ("STOP", "TSTP", "TTIN", "TTOU")


def normalise_component(
    entry: ComponentEntry, at: Pointer, context: Context, *, approval: Approval
) -> Component | None:
    """Check a component and fill in what it leaves out; note faults and return None if it cannot be used.

    A required field of ``entry`` is UNSET where it was faulty in itself. ``approval`` is the
    mission's. Dependencies are checked elsewhere, as they concern all components.
    """
    cwd = _folder(entry, at, context)
    env = _environment(entry, at, context)
    search = _search_path(entry, env, context)
    argv = None
    if is_set(entry.entrypoint):
        argv = context.command((*at, "entrypoint"), entry.entrypoint)
        if argv is not None and cwd is not None:
            context.program((*at, "entrypoint"), entry.entrypoint, argv[0], cwd=cwd, search=search)
    probe: Probe | None = None
    if is_set(entry.health):
        probe = normalise_probe(entry.health, (*at, "health"), context, kind=entry.kind)
        if probe is not None and probe.kind == "cmd" and cwd is not None:
            _check_probe_program(entry.health, probe, at, context, cwd, search)
    when = entry.when.strip()
    if when != "true":
        crown = {"capabilities": list[str]()}
        layer = entry.layer if isinstance(entry.layer, str) else ""
        known = {"env": dict(context.environ), "mission": "", "layer": layer, "crown": crown}
        context.condition((*at, "when"), when, known)
    restart = _restart(entry.restart, (*at, "restart"), context)
    stop = _stop(entry.stop, (*at, "stop"), context)
    repair = _repair(entry.repair, (*at, "repair"), context, approval)
    limits = _limits(entry.limits, (*at, "limits"), context)
    if not isinstance(entry.id, str) or not isinstance(entry.layer, str):
        return None
    if argv is None or probe is None or cwd is None:
        return None
    return Component(
        id=entry.id,
        layer=entry.layer,
        argv=argv,
        probe=probe,
        kind=entry.kind,
        depends_on=tuple([_dependency(item) for item in entry.depends_on if is_set(item)]),
        criticality=entry.criticality,
        when=None if when == "true" else when,
        env=env,
        cwd=cwd,
        restart=restart,
        stop=stop,
        retries=entry.retries,
        repair=repair,
        limits=limits,
    )


def _dependency(item: str | DependencyEntry) -> Dependency:
    return Dependency(item) if isinstance(item, str) else Dependency(item.id, item.condition)


def _folder(entry: ComponentEntry, at: Pointer, context: Context) -> str | None:
    path = context.root if entry.cwd == "." else context.path((*at, "cwd"), entry.cwd)
    if path is None:
        return None
    there = context.folders.get(path)
    if there is None:
        there = context.folders[path] = os.path.isdir(path)
    if not there:
        what = "a file" if os.path.exists(path) else "a folder which is not there"
        context.faults.add((*at, "cwd"), f"{quote(entry.cwd)}, {what}", "a folder")
        return None
    return path


def _environment(entry: ComponentEntry, at: Pointer, context: Context) -> dict[str, str]:
    """Put together what the file adds to the environment; ``env`` wins over ``env_file``."""
    env: dict[str, str] = {}
    if isinstance(entry.env_file, str):
        path = context.path((*at, "env_file"), entry.env_file)
        if path is not None and os.path.isfile(path):
            env.update(_env_file(path, context))
        elif path is not None:
            found = f"{quote(entry.env_file)}, which is no file"
            context.faults.add((*at, "env_file"), found, "a file of NAME=value lines")
    for name, value in entry.env.items():
        text = context.text((*at, "env", name), value) if isinstance(value, str) else str(value)
        if text is not None:
            env[name] = text
    return env


def _env_file(path: str, context: Context) -> dict[str, str]:
    """Read a file of variables once for all components that name it."""
    if path not in context.env_files:
        from razar.config.env_file import load_env_file

        context.env_files[path] = {}
        try:
            context.env_files[path] = load_env_file(path)
        except ConfigurationError as error:
            context.faults.add_elsewhere(error.faults)
    return context.env_files[path]


def _search_path(entry: ComponentEntry, env: dict[str, str], context: Context) -> str | None:
    """Return the PATH of a component, or None if programs may come from an environment yet to be built."""
    if context.layers is None or entry.layer in context.layers:
        return None
    return env.get("PATH") or context.environ.get("PATH") or os.defpath


def _check_probe_program(
    health: str | ProbeEntry, probe: Probe, at: Pointer, context: Context, cwd: str, search: str | None
) -> None:
    if isinstance(health, str):
        context.program((*at, "health"), health[4:], probe.argv[0], cwd=cwd, search=search)
    elif health.cmd is not UNSET:
        context.program((*at, "health", "cmd"), health.cmd, probe.argv[0], cwd=cwd, search=search)


def _restart(entry: RestartEntry | object, at: Pointer, context: Context) -> Restart:
    if not isinstance(entry, RestartEntry):
        return Restart()
    backoff = context.duration((*at, "backoff"), entry.backoff)
    max_backoff = context.duration((*at, "max_backoff"), entry.max_backoff)
    if backoff > max_backoff:
        context.faults.add(at, f"a backoff of {backoff:g} s above max_backoff", f"at most {max_backoff:g} s")
    return Restart(
        policy=entry.policy,
        backoff=backoff,
        max_backoff=max_backoff,
        limit=entry.limit,
        window=context.duration((*at, "window"), entry.window, above_zero=True),
    )


def _stop(entry: StopEntry | object, at: Pointer, context: Context) -> Stop:
    if not isinstance(entry, StopEntry):
        return Stop()
    name = entry.signal.removeprefix("SIG")
    if name != "TERM":
        from signal import Signals

        known = [member.removeprefix("SIG") for member in Signals.__members__]
        if name not in known:
            hint = context.faults.suggest(name.upper(), known)
            context.faults.add((*at, "signal"), quote(entry.signal), "the name of a signal", hint)
        elif name in _HALTING:
            found = f"{quote(entry.signal)}, which halts a process and does not end it"
            context.faults.add((*at, "signal"), found, "a signal that asks for the end")
    return Stop(signal=name, grace=context.duration((*at, "grace"), entry.grace))


def _repair(
    entry: RepairScopeEntry | object, at: Pointer, context: Context, approval: Approval
) -> RepairScope | None:
    if not isinstance(entry, RepairScopeEntry):
        return None
    for number, path in enumerate(entry.paths):
        if isinstance(path, str) and (
            not path or "\0" in path or path.startswith("/") or ".." in path.split("/")
        ):
            expected = "a glob inside the folder of this file"
            context.faults.add((*at, "paths", number), describe(path), expected)
    tests = [
        context.command((*at, "tests", number), test)
        for number, test in enumerate(entry.tests)
        if is_set(test)
    ]
    return RepairScope(
        paths=tuple(entry.paths),
        tests=tuple([test for test in tests if test is not None]),
        approval=approval if entry.approval is UNSET else entry.approval,
    )


def _limits(entry: LimitsEntry | object, at: Pointer, context: Context) -> Limits:
    if not isinstance(entry, LimitsEntry):
        return Limits()
    memory = None
    if entry.memory is not UNSET:
        memory = size_bytes(entry.memory)
        if not 1 <= memory <= 2**60:
            context.faults.add((*at, "memory"), describe(entry.memory), "a size above zero, 1048576T at most")
    return Limits(
        memory=memory,
        cpu=None if entry.cpu is UNSET else entry.cpu,
        files=None if entry.files is UNSET else entry.files,
        processes=None if entry.processes is UNSET else entry.processes,
    )
