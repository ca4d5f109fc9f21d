"""The gateway beside the litellm proxy: the same servant, the same load, in one run.

    python -m benchmarks.gateway [--litellm PATH | --alone] [--seconds 0.5] [--rounds 21] [--connections 16]
                                 [--json] [--write docs/gateway.md]

The gateway is installed from our wheel as ``pip install .`` would build it, the proxy from PyPI, each into an
environment of its own below ``target``; ``--litellm`` takes a program that is there already. The servant and the
load generator are ``neoabzu_crates/crown/examples/load.rs``, built with cargo. They run on the same processors as
the server that is measured.

Each server is first asked as much as it can answer, every connection anew as soon as it has its answer. Its
sustained load is the highest rate it keeps up with when requests come at instants fixed beforehand, in steps of 5 %
of that. Then it is asked half of its sustained load; latency counts from the instant a request was due, so that a
stall delays and counts all that was due meanwhile. The same is asked of the servant itself right after, and the
difference of the two is the latency that the server adds.

That is done in many short rounds; what is told are medians, and for the 99th percentile the quartiles as well. A
round in which a virtual machine's host gave the processors to others is set aside and done again: it tells of the
host. If too few are left, all of them count, and that is told. *processor* is the time that all threads and processes
of the server spend on a request at that rate, in the kernel too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bytecode import compile_packages

ROOT = Path(__file__).parents[1]
PEER = "litellm[proxy]==1.108.7"
#: Both servers ask for it: the proxy does not start without one.
TOKEN = f"sk-{secrets.token_hex(24)}"
#: Requests in a round, at least: fewer tell nothing of a 99th percentile.
LEAST = 100
#: The rounds of a server end with the one under way after so many seconds.
PATIENCE = 90
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


def built() -> str:
    """Build the load generator and return its path."""
    command = [
        "cargo",
        "build",
        "--profile",
        "fast",
        "--locked",
        "--package",
        "neoabzu-crown",
        "--example",
        "load",
    ]
    done = subprocess.run(
        [*command, "--message-format", "json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    messages = (json.loads(line) for line in done.stdout.splitlines())
    found: str = next(
        m["executable"] for m in messages if m.get("target", {}).get("name") == "load" and m.get("executable")
    )
    return found


def installed() -> str:
    """Install the proxy, once, and return its program."""
    from uv import find_uv_bin

    folder = ROOT / "target" / f"bench-{PEER.rpartition('=')[2]}"
    program = folder / "bin" / "litellm"
    if not program.is_file():
        subprocess.run(
            [find_uv_bin(), "venv", "-q", "--clear", "-p", sys.executable, str(folder)], check=True
        )
        install = [
            find_uv_bin(),
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "-p",
            str(folder / "bin/python"),
        ]
        subprocess.run([*install, PEER], check=True)
    return str(program)


def shipped() -> str:
    """Install our own wheel, built as it is published, into an environment of its own; return its Python."""
    from uv import find_uv_bin

    folder, tools = ROOT / "target" / "bench-razar", Path(sys.executable).parent
    python = str(folder / "venv" / "bin" / "python")
    wheels = folder / "wheels"
    for old in wheels.glob("*.whl"):
        old.unlink()
    subprocess.run(
        [tools / "maturin", "build", "-q", "--release", "--locked", "-o", wheels], cwd=ROOT, check=True
    )
    if not Path(python).exists():
        subprocess.run([find_uv_bin(), "venv", "-q", "-p", sys.executable, str(folder / "venv")], check=True)
    install = [find_uv_bin(), "pip", "install", "-q", "--compile-bytecode", "-p", python]
    subprocess.run([*install, "--require-hashes", "-r", ROOT / "requirements/runtime.txt"], check=True)
    subprocess.run([*install, "--no-deps", "--reinstall", *wheels.glob("*.whl")], check=True)
    return python


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program and everything it starts until the block ends."""
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    with process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def until_it_answers(port: int, process: subprocess.Popen[str], timeout: float = 300) -> None:
    """Ask for a chat completion until one comes."""
    body = json.dumps({"model": "crown", "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, headers)
    end = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    sys.exit(f"{process.args!r} does not answer")


def stolen() -> int:
    """What the host of a virtual machine has given to others since the start, in ticks of a processor; proc(5)."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8])


@dataclass(frozen=True)
class Server:
    """A server that is measured, with all processes of its session."""

    port: int
    session: int

    def processor(self) -> float:
        """The time its processes have spent, in seconds."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # It has ended.
                continue
            if int(fields[3]) == self.session:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


class Bench:
    """One run: the load generator, the servant, and what was measured."""

    def __init__(self, load: str, seconds: float, rounds: int, connections: int) -> None:
        self.load, self.seconds, self.rounds, self.connections = load, seconds, rounds, connections

    def ask(self, port: int, rate: float = 0, seconds: float | None = None) -> dict[str, float]:
        arguments = [
            "ask",
            f"127.0.0.1:{port}",
            str(self.connections),
            str(seconds or self.seconds),
            str(rate),
        ]
        environ = os.environ | {"LOAD_TOKEN": TOKEN}
        done = subprocess.run(
            [self.load, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environ
        )
        result: dict[str, float] = json.loads(done.stdout)
        if result["errors"]:
            sys.exit(f"{result['errors']:.0f} requests failed: {done.stdout}")
        return result

    def measure(self, server: Server, servant: int) -> dict[str, float]:
        """Ask as much as possible, then half of what it sustains, in turn with the servant at the same rate."""
        self.ask(server.port, seconds=1)
        tries = [self.ask(server.port, seconds=1) for _ in range(5)]
        most = statistics.median(each["rate"] for each in tries)
        # What it had under way then it may have under way at the end.
        margin = statistics.median(each["p50"] for each in tries)
        sustained = self.sustained(server, most, margin)
        half = sustained / 2
        seconds = max(self.seconds, LEAST / half)
        quiet: list[dict[str, float]] = []
        disturbed: list[dict[str, float]] = []
        end = time.monotonic() + PATIENCE
        while len(quiet) < self.rounds and time.monotonic() < end:
            before = stolen()
            told = self.round(server, servant, half, seconds)
            (quiet if stolen() == before else disturbed).append(told)
        enough = len(quiet) >= self.rounds / 2
        rounds = quiet if enough else quiet + disturbed
        middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        quartiles = statistics.quantiles((each["added_p99_ms"] for each in rounds), n=4)
        return {
            "requests_per_second": most,
            "sustained": sustained,
            **middle,
            "added_p99_lower_ms": quartiles[0],
            "added_p99_upper_ms": quartiles[2],
            "rounds": len(rounds),
            "set_aside": len(disturbed) if enough else 0,
        }

    def sustained(self, server: Server, most: float, margin: float) -> float:
        """Find the highest rate that it keeps up with, in requests/s: at the end it is at most 1 % of the time late.

        One of three tries has to succeed: the others may be the host's doing.
        """
        for share in range(100, 0, -5):
            rate = most * share / 100
            seconds = max(1, LEAST / rate)
            for _ in range(3):
                if self.ask(server.port, rate, seconds)["seconds"] <= seconds * 1.01 + margin:
                    return rate
        sys.exit(f"the server keeps up with none of the rates up to {most:.0f} requests/s")

    def round(self, server: Server, servant: int, rate: float, seconds: float) -> dict[str, float]:
        """Ask the server, then the servant."""
        before = server.processor()
        through = self.ask(server.port, rate, seconds)
        spent = server.processor() - before
        direct = self.ask(servant, rate, seconds)
        return {
            "p50_ms": through["p50"] * 1000,
            "p99_ms": through["p99"] * 1000,
            "direct_p50_ms": direct["p50"] * 1000,
            "direct_p99_ms": direct["p99"] * 1000,
            "added_p50_ms": (through["p50"] - direct["p50"]) * 1000,
            "added_p99_ms": (through["p99"] - direct["p99"]) * 1000,
            "processor_us": spent / through["requests"] * 1e6,
        }


def crown(stack: ExitStack, python: str, servant: int, folder: Path) -> Server:
    """Start the gateway."""
    config = {"servants": [{"name": "m", "url": f"http://127.0.0.1:{servant}/v1"}], "kimicho": False}
    (folder / "crown.json").write_text(json.dumps(config))
    command = [python, "-m", "neoabzu_crown", "--config", str(folder / "crown.json")]
    environ = os.environ | {"CROWN_TOKEN": TOKEN}
    # Not in our folder, whose packages would be taken instead.
    process = stack.enter_context(running(command, stdout=subprocess.PIPE, env=environ, cwd=folder))
    port = int(first_line(process).rsplit(":", 1)[1])
    until_it_answers(port, process)
    return Server(port, process.pid)


def litellm(stack: ExitStack, program: str, servant: int, folder: Path) -> Server:
    """Start the proxy with a worker per processor, without its optional work."""
    entry = {"model": "openai/m", "api_base": f"http://127.0.0.1:{servant}/v1", "api_key": "sk-1"}
    config = {"model_list": [{"model_name": "crown", "litellm_params": entry}]}
    (folder / "litellm.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [program, "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", str(os.cpu_count() or 1), "--telemetry", "False"]
    # On a busy machine its workers need longer to start than their supervisor waits.
    command += ["--timeout_worker_healthcheck", "120"]
    environ = os.environ | {
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": TOKEN,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
    }
    with (folder / "litellm.log").open("w") as log:
        process = stack.enter_context(running(command, stdout=log, stderr=log, env=environ))
    until_it_answers(port, process)
    return Server(port, process.pid)


def decision() -> dict[str, float]:
    """Time ``route_decision`` with ten rules and five servants, without memory, in microseconds."""
    from neoabzu_crown import Router

    servants = [{"name": f"s{n}", "url": "http://127.0.0.1:1", "capabilities": ["code"]} for n in range(5)]
    rules = [{"when": f"text.contains('word{n}') && size < 100000", "use": [f"s{n % 5}"]} for n in range(10)]
    router = Router({"servants": servants, "rules": rules, "kimicho": False})
    text = "What does a servant answer when it is asked something with word9 in it?"
    times = []
    for _ in range(20_000):
        began = time.perf_counter()
        router.route_decision(text, {"emotion": "calm"})
        times.append((time.perf_counter() - began) * 1e6)
    return {"p50_us": statistics.median(times), "p99_us": sorted(times)[int(len(times) * 0.99)]}


def report(results: dict[str, Any]) -> str:
    """Lay the figures out in Markdown."""
    decided = results["route_decision"]
    lines = [
        f"Taken {results['date']} on {results['machine']}: {results['connections']} connections, medians of "
        f"rounds of {results['seconds']:g} s or {LEAST} requests. The servant answers "
        f"{results['servant']['rate']:,.0f} requests/s when it is asked directly.",
        "",
        "| | requests/s | sustained | p50 | p99 | added p50 | added p99 (quartiles) | processor µs "
        "| rounds (set aside) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in ("gateway", "litellm"):
        row = results.get(name)
        if row is not None:
            lines.append(
                "| {name} | {requests_per_second:,.0f} | {sustained:,.0f} | {p50_ms:.2f} | {p99_ms:.2f} "
                "| {added_p50_ms:.2f} | {added_p99_ms:.2f} ({added_p99_lower_ms:.2f} to {added_p99_upper_ms:.2f}) "
                "| {processor_us:,.0f} | {rounds:.0f} ({set_aside:.0f}) |".format(name=name, **row)
            )
    lines += ["", "Latency in ms, at half of the sustained load."]
    if "times_litellm" in results:
        lines.append(
            f"The gateway answers {results['times_litellm']:.0f} times as many requests/s as litellm."
        )
    lines.append(
        f"`route_decision`, 10 rules, 5 servants, no memory: p50 {decided['p50_us']:.1f} µs, "
        f"p99 {decided['p99_us']:.1f} µs."
    )
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--litellm", metavar="PATH", help=f"the proxy's program; left out: {PEER} is installed"
    )
    parser.add_argument("--alone", action="store_true", help="leave the proxy out")
    parser.add_argument("--load", metavar="PATH", help="the load generator, if it is built")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one round")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, help="put the table into this page")
    options = parser.parse_args()
    # What was started is ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    compile_packages()
    python = shipped()
    bench = Bench(options.load or built(), options.seconds, options.rounds, options.connections)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()} {platform.release()}), "
        f"load {os.getloadavg()[0]:.1f} before",
        "seconds": options.seconds,
        "connections": options.connections,
    }
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        servant = int(
            first_line(stack.enter_context(running([bench.load, "upstream"], stdout=subprocess.PIPE)))
        )
        results["servant"] = bench.ask(servant)
        with ExitStack() as peer:
            results["gateway"] = bench.measure(crown(peer, python, servant, folder), servant)
        if not options.alone:
            program = options.litellm or installed()
            with ExitStack() as peer:
                results["litellm"] = bench.measure(litellm(peer, program, servant, folder), servant)
            rates = [results[name]["requests_per_second"] for name in ("gateway", "litellm")]
            results["times_litellm"] = rates[0] / rates[1]
    results["route_decision"] = decision()
    print(json.dumps(results, indent=1) if options.json else report(results))
    if options.write:
        write(options.write, report(results))


if __name__ == "__main__":
    main()
