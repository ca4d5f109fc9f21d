"""Boot overhead: the time to all components healthy, less what the components themselves need.

Every manager starts the same static HTTP servers, which tell their own instants by datagram. What
RAZAR has noticed is read from its journal; the others notice nothing, so theirs is the instant at
which the last component answers. Run it with ``make bench`` or::

    python benchmarks/boot_overhead.py [--counts 1,10,50,200] [--runs 3] [--json] [--write docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import managers
from benchmarks.bytecode import compile_packages
from benchmarks.managers import Load

HERE = Path(__file__).resolve().parent
#: Seconds after which a run counts as failed.
LIMIT = 120.0
#: Seconds a manager gets for its end.
STOP_LIMIT = 10.0
PEERS = {"supervisor": "4.3.0", "circus": "0.19.0"}


@dataclass(frozen=True)
class Run:
    """One boot. Milliseconds since the manager's process was started; memory in MB."""

    first_ms: float
    answering_ms: float
    noticed_ms: float | None
    own_ms: float
    lag_ms: float | None
    rss_mb: float

    @property
    def overhead_ms(self) -> float:
        """What the manager adds: until all are noticed healthy, or answer where nobody notices."""
        return (self.answering_ms if self.noticed_ms is None else self.noticed_ms) - self.own_ms


def build_component(folder: Path) -> Path:
    """Compile the component as a static binary, so that its own start costs next to nothing."""
    binary = folder / "component"
    source = HERE / "component.c"
    subprocess.run(["cc", "-O2", "-static", "-o", str(binary), str(source)], check=True)
    return binary


def install_peers(folder: Path) -> Path:
    """Make a virtual environment with the peers; return its folder of programs."""
    from uv import find_uv_bin

    uv, venv = find_uv_bin(), folder / "peers"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    packages = [f"{name}=={version}" for name, version in PEERS.items()]
    # supervisor still imports pkg_resources, which setuptools dropped in version 81.
    command = [uv, "pip", "install", "-q", "--compile-bytecode", "-p", str(venv / "bin/python")]
    subprocess.run([*command, "setuptools<81", *packages], check=True)
    return venv / "bin"


def free_ports(count: int) -> list[int]:
    """Ports nobody has, below those that clients get from the kernel: so none is taken meanwhile."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = list(range(10_000, low)) or list(range(1024, 65_536))
    begin = os.getpid() * 997 % len(candidates)  # Not where another benchmark looks.
    found: list[int] = []
    for port in candidates[begin:] + candidates[:begin]:
        if len(found) == count:
            break
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        sys.exit(f"{count} free ports are needed, there are {len(found)}")
    return found


def resident_mb(pid: int) -> float:
    """Resident memory of one process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(prepare: Callable[[Load, Path], list[str]], load: Load, *, noticing: bool) -> Run:
    """Start a manager, wait until every component answers (and is noticed), stop it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        command = prepare(load, folder)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        load.socket.unlink(missing_ok=True)
        receiver.bind(str(load.socket))
        receiver.settimeout(LIMIT)
        epoch_offset = time.time() - time.monotonic()
        begin = time.monotonic_ns()
        with (folder / "manager.out").open("wb") as out:
            manager = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
        try:
            started, ready = collect(receiver, load.count)
            noticed = read_journal(folder, load.count, epoch_offset) if noticing else None
            rss = resident_mb(manager.pid)
        finally:
            stop(manager)
            receiver.close()

        def since(instant: float) -> float:
            return (instant - begin) / 1e6

        own = [(ready[i] - started[i]) / 1e6 for i in range(load.count)]
        lags = None if noticed is None else [(noticed[i] - ready[i]) / 1e6 for i in range(load.count)]
        return Run(
            first_ms=since(min(started.values())),
            answering_ms=since(max(ready.values())),
            noticed_ms=None if noticed is None else since(max(noticed.values())),
            own_ms=max(own) if load.parallel else sum(own),
            lag_ms=None if lags is None else statistics.median(lags),
            rss_mb=rss,
        )


def stop(manager: subprocess.Popen[bytes]) -> None:
    """End a manager and its components; one that a TERM right after its start did not reach is killed."""
    children = Path(f"/proc/{manager.pid}/task/{manager.pid}/children").read_text().split()
    manager.terminate()
    try:
        manager.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        manager.kill()
        manager.wait(STOP_LIMIT)


def collect(receiver: socket.socket, count: int) -> tuple[dict[int, int], dict[int, int]]:
    """Receive what the components tell until all are ready."""
    started: dict[int, int] = {}
    ready: dict[int, int] = {}
    while len(ready) < count:
        index, what, _, instant = receiver.recv(256).decode().split()
        (started if what == "started" else ready)[int(index)] = int(instant)
    return started, ready


def read_journal(folder: Path, count: int, epoch_offset: float) -> dict[int, float]:
    """Wait for RAZAR's journal to show every component healthy; return the instants (monotonic ns)."""
    path = folder / "logs" / "razar_journal.jsonl"
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        noticed: dict[int, float] = {}
        for line in path.read_text().splitlines(keepends=True):
            if '"ProbePassed"' in line and line.endswith("\n"):  # The last one may be half written.
                record = json.loads(line)
                index = int(record["event"]["component"][1:])
                noticed.setdefault(index, (record["at"] - epoch_offset) * 1e9)
        if len(noticed) == count:
            return noticed
        time.sleep(0.02)
    raise SystemExit(f"RAZAR has not noticed all {count} components; see {path}")


def summarise(runs: list[Run]) -> dict[str, float | None]:
    """The median of every figure."""

    def median(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return round(statistics.median(known), 2) if known else None

    columns = [asdict(run) | {"overhead_ms": run.overhead_ms} for run in runs]
    return {name: median([column[name] for column in columns]) for name in columns[0]}


def cases(counts: list[int]) -> list[tuple[str, int, int]]:
    """(mode, readiness in ms, N): in sequence with 200 ms only as far as it stays bearable."""
    found = []
    for mode in ("sequential", "parallel"):
        for ready in (0, 200):
            found += [(mode, ready, n) for n in counts if mode == "parallel" or ready == 0 or n <= 50]
    return found


def table(rows: list[dict[str, object]]) -> str:
    """A Markdown table."""
    head = ["manager", "mode", "ready", "N", "first", "all", "overhead", "per comp.", "lag", "RSS MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        count = int(str(row["count"]))
        overhead = float(str(row["overhead_ms"]))
        every = row["noticed_ms"] or row["answering_ms"]
        lag = "–" if row["lag_ms"] is None else f"{row['lag_ms']}"
        cells = [
            row["manager"],
            row["mode"],
            row["ready_ms"],
            count,
            row["first_ms"],
            every,
            round(overhead, 1),
        ]
        cells += [round((overhead - float(str(row["first_ms"]))) / count, 2), lag, row["rss_mb"]]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def document(rows: list[dict[str, object]], runs: int, note: str) -> str:
    """The page that keeps the last table."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    peers = ", ".join(f"{name} {version}" for name, version in PEERS.items())
    return f"""# Boot overhead

Taken {datetime.now(UTC):%Y-%m-%d} on {machine}; medians of {runs} runs, all managers in the same
session, our packages compiled before. Peers: {peers}. Made by
`python -m benchmarks.boot_overhead --write docs/benchmarks.md`.
{note}

Milliseconds since the manager's process was started. *first*: the first component runs; *all*: the
last component is noticed healthy (RAZAR) or answers (the others, which ask nobody); *overhead*: *all*
less what the components themselves need; *per comp.*: what each component adds after the first
ignition; *lag*: median time from a component's being ready to RAZAR's having noticed.
`razar+crown` also starts the embedded Crown and shakes hands before the first ignition. What supervision
costs afterwards (death to relaunch, an append to the journal, an idle manager) is measured by
`make bench-supervision`.

{table(rows)}
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="1,10,50,200")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help="comma-separated managers")
    parser.add_argument("--write", metavar="FILE", help="keep the table in this file")
    parser.add_argument("--note", default="", help="a sentence about the circumstances, kept with the table")
    options = parser.parse_args()
    compile_packages()
    counts = [int(count) for count in options.counts.split(",")]
    with tempfile.TemporaryDirectory(prefix="bench-setup-") as name:
        folder = Path(name)
        component = build_component(folder)
        programs = install_peers(folder)
        contenders: dict[str, tuple[Callable[[Load, Path], list[str]], bool]] = {
            "razar": (lambda load, where: managers.razar(load, where, crown="off"), True),
            "razar+crown": (lambda load, where: managers.razar(load, where, crown="required"), True),
            "supervisord": (
                lambda load, where: managers.supervisord(load, where, binary=str(programs / "supervisord")),
                False,
            ),
            "circus": (
                lambda load, where: managers.circus(load, where, binary=str(programs / "circusd")),
                False,
            ),
        }
        chosen = options.only.split(",") if options.only else list(contenders)
        rows: list[dict[str, object]] = []
        for mode, ready, count in cases(counts):
            for manager in chosen:
                if mode == "sequential" and not manager.startswith("razar"):
                    continue  # They know no readiness, so they cannot start one after the other is ready.
                prepare, noticing = contenders[manager]
                runs = []
                for _ in range(options.runs + 1):
                    load = Load(
                        count, ready, mode == "parallel", free_ports(count), component, folder / "told"
                    )
                    runs.append(measure(prepare, load, noticing=noticing))
                case = {"manager": manager, "mode": mode, "ready_ms": ready, "count": count}
                rows.append(case | summarise(runs[1:]))
                print(json.dumps(rows[-1]) if options.json else rows[-1], file=sys.stderr, flush=True)
    print(json.dumps(rows) if options.json else table(rows))
    if options.write:
        Path(options.write).write_text(document(rows, options.runs, options.note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
