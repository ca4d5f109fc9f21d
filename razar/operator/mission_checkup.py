"""What ``razar doctor`` finds out about a mission folder: files, ports, disk, Crown, leftovers, locks."""

from __future__ import annotations

import argparse
import os
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping

from razar.config.model import CrownSettings, EnvironmentSpec, MissionConfig, Probe
from razar.control.client import supervisor
from razar.operator.machine_checkup import Row
from razar.operator.mission import STATE_NAME, ending, read_snapshot

__all__ = ["check_mission"]

#: Bytes of free disk below which a mission is not worth starting, or soon in trouble.
DISK_FAIL = 100 << 20
DISK_WARN = 1 << 30
#: Seconds that Crown's port gets to accept a connection.
CROWN_TIME = 2.0
METRICS_PORT = 9360


def check_mission(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[Row]:
    """Yield what was found; nothing is written."""
    logs: str = arguments.logs
    running = supervisor(logs)
    yield _supervisor(running)
    yield from _state_file(logs)
    dying: frozenset[int] = frozenset()
    if running is None:
        row, dying = _leftovers(logs)
        yield row
    yield _logs_folder(logs)
    yield _disk(logs)
    yield _metrics_port(environ, running)
    loaded = _load(arguments)
    if isinstance(loaded, Row):
        yield loaded
        return
    config, environments = loaded
    count = f"{len(config.components)} components, {len(environments)} environments"
    yield Row("configuration", "ok", f"mission {config.mission}, {count}")
    yield from _ports(config, running, dying)
    yield _crown(config.crown, environ)
    yield from _environments(config, environments)


def _load(arguments: argparse.Namespace) -> tuple[MissionConfig, tuple[EnvironmentSpec, ...]] | Row:
    from razar.config.faults import ConfigurationError
    from razar.operator.boot import load_files

    try:
        return load_files(arguments.mission, arguments.config, arguments.environments)
    except ConfigurationError as fault:
        more = f" (and {len(fault.faults) - 1} more)" if len(fault.faults) > 1 else ""
        return Row("configuration", "fail", f"{fault.faults[0]}{more}", "razar check shows every fault")


def _supervisor(running: int | None) -> Row:
    if running is None:
        return Row("mission", "ok", "not running")
    return Row("mission", "ok", f"running, supervisor pid {running or 'unknown'}")


def _state_file(logs: str) -> Iterator[Row]:
    path = os.path.join(logs, STATE_NAME)
    snapshot = read_snapshot(logs)
    if snapshot is not None:
        last = snapshot.get("last_boot") or "not ended"
        yield Row("state file", "ok", f"mission {snapshot.get('mission')}, last boot {last}")
    elif os.path.lexists(path):
        yield Row(
            "state file", "warn", f"{path} is no snapshot", "the next boot sets it aside and writes a new one"
        )


def _leftovers(logs: str) -> tuple[Row, frozenset[int]]:
    """The row, and the pids of what the next boot ends before it ignites anything."""
    if ending(None, logs).clean:
        return Row("leftovers", "ok", "no boot has died here"), frozenset()
    from razar.operator.leftovers import describe_leftovers, find_leftovers

    left = find_leftovers(logs)
    if left:
        found = f"still there from a boot that died: {describe_leftovers(left)}"
        pids = frozenset(process.pid for processes in left.values() for process in processes)
        return Row("leftovers", "warn", found, "razar stop ends them; so does the next boot"), pids
    return Row("leftovers", "ok", "the last boot died, but left no process behind"), frozenset()


def _logs_folder(logs: str) -> Row:
    try:
        found = os.stat(logs)
    except FileNotFoundError:
        parent = os.path.dirname(os.path.abspath(logs))
        while not os.path.exists(parent):
            parent = os.path.dirname(parent)
        if os.access(parent, os.W_OK | os.X_OK):
            return Row("logs folder", "ok", f"{logs} is not there yet; the first boot makes it")
        return Row(
            "logs folder",
            "fail",
            f"{logs} is not there, and {parent} cannot be written to",
            f"chown or chmod {parent}, or choose another folder with --logs",
        )
    except OSError as fault:
        return Row("logs folder", "fail", f"{logs}: {fault.strerror}", "choose another folder with --logs")
    if not stat.S_ISDIR(found.st_mode):
        return Row(
            "logs folder", "fail", f"{logs} is no folder", "move it away, or choose another one with --logs"
        )
    if not os.access(logs, os.R_OK | os.W_OK | os.X_OK):
        return Row(
            "logs folder",
            "fail",
            f"{logs} cannot be written to by uid {os.geteuid()}",
            f"chown {os.geteuid()} {logs}",
        )
    if found.st_mode & stat.S_IWOTH:
        return Row("logs folder", "warn", f"{logs} can be written to by everybody", f"chmod o-w {logs}")
    return Row("logs folder", "ok", f"{logs}, mode {stat.S_IMODE(found.st_mode):04o}")


def _disk(logs: str) -> Row:
    place = os.path.abspath(logs)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    text = f"{free / (1 << 30):.1f} GiB free at {place}"
    if found.f_files and not found.f_favail:
        return Row("disk", "fail", f"no inodes left at {place}", "remove files there")
    if free < DISK_FAIL:
        return Row("disk", "fail", text, "make room: state, journal and logs could not be written")
    if free < DISK_WARN:
        return Row("disk", "warn", text, "environments and logs may need more")
    return Row("disk", "ok", text)


def _metrics_port(environ: Mapping[str, str], running: int | None) -> Row:
    text = environ.get("RAZAR_METRICS_PORT", "").strip() or str(METRICS_PORT)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        return Row(
            "metrics port",
            "warn",
            f"RAZAR_METRICS_PORT is {text[:40]!r}, no port",
            f"{METRICS_PORT} is used instead",
        )
    if running is not None or text == "0":
        return Row("metrics port", "ok", text)
    from razar.probes.ports import port_conflict

    taken = port_conflict(Probe(kind="tcp", target=f"127.0.0.1:{text}"))
    if taken is not None:
        return Row(
            "metrics port", "warn", taken, "no metrics without it: set RAZAR_METRICS_PORT to another one"
        )
    return Row("metrics port", "ok", f"{text} is free")


def _ports(config: MissionConfig, running: int | None, dying: frozenset[int]) -> Iterator[Row]:
    if running is not None:
        return
    from razar.probes.ports import port_conflict

    free = 0
    for component in config.components:
        if component.probe.kind not in ("http", "tcp", "ws", "grpc"):
            continue
        taken = port_conflict(component.probe)
        if taken is None:
            free += 1
        elif not any(f" by pid {pid} " in taken for pid in dying):
            yield Row("ports", "fail", f"{component.id}: {taken}", "it could not be ignited")
    if free:
        yield Row("ports", "ok", f"{free} of the probes' ports are free")


def _crown(crown: CrownSettings, environ: Mapping[str, str]) -> Row:
    if crown.policy == "off":
        return Row("crown", "ok", "off")
    if crown.url is None:
        return Row("crown", "ok", "the embedded one (no URL is set)")
    from razar.crown.client import parse_url

    try:
        target = parse_url(crown.url)
    except ValueError as fault:
        return Row("crown", "fail", f"its URL: {fault}", "change crown.url or CROWN_WS_URL")
    if not (target.secure or target.loopback or environ.get("CROWN_ALLOW_PLAINTEXT") == "1"):
        advice = "use wss://, or set CROWN_ALLOW_PLAINTEXT=1 if the network may see the mission"
        return Row("crown", "fail", f"{target.shown} is not encrypted and not on this machine", advice)
    place = f"{target.host}:{target.port}"
    try:
        socket.create_connection((target.host, target.port), CROWN_TIME).close()
    except OSError as fault:
        found = f"{place} cannot be reached: {fault.strerror or fault}"
        return Row(
            "crown",
            "fail" if crown.policy == "required" else "warn",
            found,
            "start it, or set crown.policy to optional",
        )
    return Row("crown", "ok", f"{place} accepts connections ({crown.policy})")


def _environments(config: MissionConfig, environments: Iterable[EnvironmentSpec]) -> Iterator[Row]:
    layers = {component.layer for component in config.components}
    specs = [spec for spec in environments if spec.layer in layers]
    if not specs:
        return
    from razar.environments.model import LayerError
    from razar.environments.uv import find_uv

    try:
        yield Row("uv", "ok", find_uv())
    except LayerError as fault:
        yield Row("uv", "fail", "not installed", str(fault))
    for spec in specs:
        yield _environment(spec, config.root)


def _environment(spec: EnvironmentSpec, root: str) -> Row:
    from razar.environments import layout, lock
    from razar.environments.check import examine
    from razar.environments.model import LayerError, Stale
    from razar.environments.requirements import parse

    name = f"layer {spec.layer}"
    try:
        text = layout.read_lock(root, spec.layer)
        wanted = lock.inputs_digest(spec, root, [parse(dependency, root) for dependency in spec.dependencies])
        found = examine(spec, root)
    except LayerError as fault:
        return Row(name, "fail", str(fault), "correct razar_env.yaml")
    except OSError as fault:
        return Row(name, "fail", f"{fault.filename}: {fault.strerror}", "make it readable")
    path = os.path.relpath(layout.lock_path(root, spec.layer), root)
    if text is None:
        return Row(
            name,
            "warn",
            f"{path} is not there",
            "the next boot resolves it, which needs the network; commit it then",
        )
    if not lock.is_fresh(text, wanted):
        return Row(
            name,
            "warn",
            f"{path} is older than razar_env.yaml",
            "the next boot resolves it again, which needs the network",
        )
    if isinstance(found, Stale):
        return Row(name, "ok", f"locked; to be built: {found.reason}")
    return Row(name, "ok", "locked and built")
