"""The gateway beside the litellm proxy: the same servant, the same load, in one run.

    python -m benchmarks.gateway [--litellm PATH | --alone] [--seconds 5] [--connections 16] [--json]

The proxy is installed into an environment of its own below ``target``, once; ``--litellm`` takes a program that
is there already. The servant and the load generator are ``neoabzu_crates/crown/examples/load.rs``, built with
cargo. First each server is asked as much as it can answer; then at half of that, and the servant itself at the
same rate, which gives the latency that the server adds.
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
from pathlib import Path
from typing import Any

from benchmarks.bytecode import compile_packages

ROOT = Path(__file__).parents[1]
PEER = "litellm[proxy]==1.108.7"
#: Both servers ask for it: the proxy does not start without one.
TOKEN = f"sk-{secrets.token_hex(24)}"


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


class Bench:
    """One run: the load generator, the servant, and what was measured."""

    def __init__(self, load: str, seconds: float, connections: int) -> None:
        self.load, self.seconds, self.connections = load, seconds, connections

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

    def measure(self, port: int, servant: int) -> dict[str, float]:
        """Ask as much as possible, then at half of that, beside the servant itself at the same rate."""
        self.ask(port, seconds=min(2, self.seconds))
        most = self.ask(port)
        half = most["rate"] / 2
        at_half, alone = self.ask(port, half), self.ask(servant, half)
        return {
            "requests_per_second": most["rate"],
            "half_rate": half,
            "p50_ms": at_half["p50"] * 1000,
            "p99_ms": at_half["p99"] * 1000,
            "added_p50_ms": (at_half["p50"] - alone["p50"]) * 1000,
            "added_p99_ms": (at_half["p99"] - alone["p99"]) * 1000,
        }


def crown(stack: ExitStack, servant: int, folder: Path) -> int:
    """Start the gateway."""
    config = {"servants": [{"name": "m", "url": f"http://127.0.0.1:{servant}/v1"}], "kimicho": False}
    (folder / "crown.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "neoabzu_crown", "--config", str(folder / "crown.json")]
    environ = os.environ | {"CROWN_TOKEN": TOKEN}
    process = stack.enter_context(running(command, stdout=subprocess.PIPE, env=environ))
    port = int(first_line(process).rsplit(":", 1)[1])
    until_it_answers(port, process)
    return port


def litellm(stack: ExitStack, program: str, servant: int, folder: Path) -> int:
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
    return port


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
    """Lay the figures out as a table."""
    lines = [f"{results['machine']}, {results['connections']} connections, {results['seconds']:g} s each", ""]
    lines.append(f"{'':12}{'requests/s':>12}{'p50':>10}{'p99':>10}{'added p50':>12}{'added p99':>12}")
    lines.append(f"{'servant':12}{results['servant']['rate']:>12,.0f}")
    for name in ("gateway", "litellm"):
        row = results.get(name)
        if row is None:
            continue
        cells = f"{row['p50_ms']:>10.3f}{row['p99_ms']:>10.3f}"
        cells += f"{row['added_p50_ms']:>12.3f}{row['added_p99_ms']:>12.3f}"
        lines.append(f"{name:12}{row['requests_per_second']:>12,.0f}{cells}")
    lines.append("latency in ms, at half of the rate")
    if "times_litellm" in results:
        lines.append(f"\ngateway / litellm: {results['times_litellm']:.1f} times the requests per second")
    lines.append(
        "route_decision, 10 rules, 5 servants: p50 {p50_us:.1f} µs, p99 {p99_us:.1f} µs".format(
            **results["route_decision"]
        )
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--litellm", metavar="PATH", help=f"the proxy's program; left out: {PEER} is installed"
    )
    parser.add_argument("--alone", action="store_true", help="leave the proxy out")
    parser.add_argument("--load", metavar="PATH", help="the load generator, if it is built")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compile_packages()
    bench = Bench(options.load or built(), options.seconds, options.connections)
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}",
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
            results["gateway"] = bench.measure(crown(peer, servant, folder), servant)
        if not options.alone:
            program = options.litellm or installed()
            with ExitStack() as peer:
                results["litellm"] = bench.measure(litellm(peer, program, servant, folder), servant)
            rates = [results[name]["requests_per_second"] for name in ("gateway", "litellm")]
            results["times_litellm"] = rates[0] / rates[1]
    results["route_decision"] = decision()
    print(json.dumps(results, indent=1) if options.json else report(results))


if __name__ == "__main__":
    main()
