"""What supervision costs once a mission runs: a relaunch, an append to the journal, an idle manager.

Relaunch: a component is killed with SIGKILL and started anew without backoff; the time from the
kill to the new process's first act, and to its listening, beside the peers. Append: one event
written to the journal, and its writing to the disk. Idle: memory, CPU time and wake-ups of RAZAR
with many components that need nothing. Run it with ``make bench-supervision`` or::

    python -m benchmarks.supervision [--kills 20] [--idle 1000] [--seconds 20] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import managers
from benchmarks.boot_overhead import (
    LIMIT,
    build_component,
    free_ports,
    install_peers,
    read_journal,
    resident_mb,
    stop,
)
from benchmarks.bytecode import compile_packages
from benchmarks.managers import Load

#: Components of the mission in which one is killed.
COMPANY = 10
#: Seconds a component is left alone before it is killed again, so that it counts as running.
CALM = 1.5
EVENTS = 20_000
#: Descriptors that one component may take, and some for the manager itself.
DESCRIPTORS = 4
#: Restarts are unlimited and without pause; nobody is asked how it is while the idle are watched.
TIRELESS: dict[str, Any] = {
    "restart": {"policy": "always", "backoff": "0s", "limit": 100_000},
    "health": {"interval": "1h"},
}

Prepare = Callable[[Load, Path], list[str]]


class Told:
    """The datagrams of the components."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(str(path))
        self._socket.settimeout(LIMIT)

    def next(self) -> tuple[int, str, int, int]:
        """Return (index, what, pid, instant in ns of the monotonic clock)."""
        index, what, pid, instant = self._socket.recv(256).decode().split()
        return int(index), what, int(pid), int(instant)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def running(
    prepare: Prepare, count: int, component: Path
) -> Iterator[tuple[Path, int, Told, dict[int, int]]]:
    """Boot ``count`` components; yields folder, the manager's pid, what is told, and the pids."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        load = Load(count, 0, True, free_ports(count), component, folder / "told")
        told = Told(load.socket)
        with (folder / "manager.out").open("wb") as out:
            manager = subprocess.Popen(prepare(load, folder), cwd=folder, stdout=out, stderr=out)
        try:
            pids: dict[int, int] = {}
            while len(pids) < count:
                index, what, pid, _ = told.next()
                if what == "ready":
                    pids[index] = pid
            yield folder, manager.pid, told, pids
        finally:
            stop(manager)
            told.close()


def relaunch(prepare: Prepare, kills: int, component: Path) -> dict[str, float]:
    """Kill one of several components again and again; milliseconds until it is there again."""
    started: list[float] = []
    ready: list[float] = []
    with running(prepare, COMPANY, component) as (_, _, told, pids):
        for _ in range(kills):
            time.sleep(CALM)
            begin = time.monotonic_ns()
            os.kill(pids[0], signal.SIGKILL)
            while True:
                index, what, pid, instant = told.next()
                if index == 0:
                    (started if what == "started" else ready).append((instant - begin) / 1e6)
                    if what == "ready":
                        pids[0] = pid
                        break
    return {
        "started_ms": round(statistics.median(started), 2),
        "ready_ms": round(statistics.median(ready), 2),
        "ready_p99_ms": round(sorted(ready)[min(len(ready) - 1, int(len(ready) * 0.99))], 2),
        "ready_max_ms": round(max(ready), 2),
    }


def append(events: int = EVENTS) -> dict[str, float]:
    """Write events to a journal as a boot does; microseconds per append, milliseconds per sync."""
    from razar.engine.events import BootStarted, Spawned
    from razar.mission_logger import Journal

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        journal = Journal(os.path.join(name, "razar_journal.jsonl"))
        journal.append(BootStarted("0" * 16, "bench"), time.time())
        event = Spawned("crown_router", 1, 4711, 123_456, "0" * 33)
        took: list[int] = []
        for _ in range(events):
            begin = time.perf_counter_ns()
            journal.append(event, time.time(), 0.5)
            took.append(time.perf_counter_ns() - begin)
        syncs: list[float] = []
        for _ in range(20):
            journal.append(event, time.time(), 0.5)
            begin = time.perf_counter_ns()
            journal.sync_now()
            syncs.append((time.perf_counter_ns() - begin) / 1e6)
        journal.close()
    took.sort()
    return {
        "append_us": round(took[len(took) // 2] / 1e3, 1),
        "append_p99_us": round(took[int(len(took) * 0.99)] / 1e3, 1),
        "sync_ms": round(statistics.median(syncs), 2),
    }


def idle(count: int, seconds: float, component: Path) -> dict[str, float]:
    """Leave a manager with many components alone; memory in MB, wake-ups and CPU per second."""
    with running(_tireless, count, component) as (folder, manager, _, _):
        read_journal(folder, count, 0.0)
        time.sleep(2.0)  # What follows the boot (endpoints, memory, the last snapshot) is over.
        before, began = _effort(manager), time.monotonic()
        time.sleep(seconds)
        after, passed = _effort(manager), time.monotonic() - began
        return {
            "rss_mb": round(resident_mb(manager), 1),
            "wakeups_per_s": round((after[0] - before[0]) / passed, 2),
            "cpu_ms_per_s": round((after[1] - before[1]) / passed, 3),
        }


def _effort(pid: int) -> tuple[int, float]:
    """Context switches and milliseconds of CPU time of all threads of a process so far."""
    switches, spent = 0, 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                switches += int(line.split()[1])
        spent += int((task / "schedstat").read_text().split()[0]) / 1e6
    return switches, spent


def _tireless(load: Load, folder: Path) -> list[str]:
    return managers.razar(load, folder, crown="off", changes=TIRELESS)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--idle", type=int, default=1000, metavar="N", help="components of the idle manager")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long it is watched")
    parser.add_argument("--only", help="comma-separated: relaunch, append, idle")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compile_packages()
    chosen = options.only.split(",") if options.only else ["relaunch", "append", "idle"]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-setup-") as name:
        folder = Path(name)
        component = build_component(folder)
        if "append" in chosen:
            figures["journal"] = append()
        if "idle" in chosen:
            _allow_descriptors(options.idle * DESCRIPTORS)
            figures[f"idle, {options.idle} components"] = idle(options.idle, options.seconds, component)
        if "relaunch" in chosen:
            programs = install_peers(folder)
            contenders: dict[str, Prepare] = {
                "razar": _tireless,
                "supervisord": lambda load, where: managers.supervisord(
                    load, where, binary=str(programs / "supervisord")
                ),
                "circus": lambda load, where: managers.circus(load, where, binary=str(programs / "circusd")),
            }
            for manager, prepare in contenders.items():
                figures[f"relaunch, {manager}"] = relaunch(prepare, options.kills, component)
    if options.json:
        print(json.dumps(figures))
    else:
        for what, found in figures.items():
            print(f"{what}: " + ", ".join(f"{name} {value:g}" for name, value in found.items()))
    return 0


def _allow_descriptors(count: int) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, count)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        sys.exit(f"{wanted} descriptors are needed, this user may have {hard}: ask for fewer components")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
