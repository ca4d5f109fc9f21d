"""Evaluating an expression, beside the other CEL evaluators that Python has.

``cel-python`` is pure Python; ``common-expression-language`` is a binding of the same Rust crate. Each
evaluates the same expressions on the same variables, a map of 1 KB, converted on every call as a caller
would do it. Expressions are compiled beforehand wherever the library lets one. Run it with
``make bench-cel`` or::

    python -m benchmarks.cel [--seconds 0.3] [--json] [--write docs/cel.md]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bytecode import compile_packages

ROOT = Path(__file__).resolve().parent.parent
PEERS = {"cel-python": "0.5.0", "common-expression-language": "0.10.0"}
OURS = "neoabzu_core"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
#: Measurements of which the best counts: the machine is shared.
REPEATS = 5

EXPRESSIONS = {
    "arithmetic": "1 + 2 * 3 > 6",
    "one entry": "env.MODE == 'production'",
    "two entries, a method": "request.user.role == 'admin' && request.path.startsWith('/api')",
    "a loop": "request.user.groups.exists(g, g == 'staff')",
    "a chain of loops": "[1, 2, 3, 4, 5].map(x, x * 2).filter(x, x > 4).size() == 3",
    "a pattern": "request.path.matches('^/api/v[0-9]+/users$')",
    "all of the map": "request == request && limits == limits && env == env",
}


def variables() -> dict[str, Any]:
    """What the expressions read: 1 KB in JSON."""
    return {
        "request": {
            "method": "GET",
            "path": "/api/v1/users",
            "ok": True,
            "user": {
                "name": "ada",
                "role": "admin",
                "groups": ["ops", "dev", "staff"],
                "id": 4711,
                "score": 0.75,
            },
            "headers": {f"x-header-{number}": "value-" + "v" * 20 for number in range(15)},
        },
        "limits": {f"k{number}": number for number in range(12)},
        "env": {"MODE": "production", "REGION": "eu-west-1", "DEBUG": "0"},
    }


def best(call: Callable[[], object], seconds: float) -> float:
    """Microseconds of one call, the best of several series of at least ``seconds`` together."""
    number = 1
    while True:
        started = time.perf_counter()
        for _ in range(number):
            call()
        elapsed = time.perf_counter() - started
        if elapsed > seconds / REPEATS / 4:
            break
        number *= 2
    number = max(1, int(number * seconds / REPEATS / elapsed))
    series = []
    gc.disable()
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in range(number):
            call()
        series.append((time.perf_counter() - started) / number)
    gc.enable()
    return min(series) * 1e6


def ways(expression: str, names: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """A call for each evaluator, its result already checked to be true."""
    import cel
    import celpy

    from neoabzu_core import evaluate_py

    program = cel.compile(expression)
    environment = celpy.Environment()
    runner = environment.program(environment.compile(expression))
    calls: dict[str, Callable[[], object]] = {
        OURS: lambda: evaluate_py(expression, names),
        "common-expression-language": lambda: program.execute(names),
        "cel-python": lambda: runner.evaluate(
            {name: celpy.json_to_cel(value) for name, value in names.items()}
        ),
    }
    for library, call in calls.items():
        if not call():
            raise SystemExit(f"{library} does not find {expression!r} true")
    return calls


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Microseconds by expression and evaluator."""
    names = variables()
    return {
        title: {library: best(call, seconds) for library, call in ways(expression, names).items()}
        for title, expression in EXPRESSIONS.items()
    }


def with_peers(folder: Path, seconds: float) -> dict[str, dict[str, float]]:
    """Install the peers into an environment of their own and measure there."""
    from uv import find_uv_bin

    python = folder / "peers/bin/python"
    subprocess.run(
        [find_uv_bin(), "venv", "-q", "--python", sys.executable, str(folder / "peers")], check=True
    )
    packages = [f"{name}=={version}" for name, version in PEERS.items()]
    install = [find_uv_bin(), "pip", "install", "-q", "--compile-bytecode", "-p", str(python), *packages]
    subprocess.run(install, check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    worker = [str(python), "-m", "benchmarks.cel", "--worker", "--seconds", str(seconds)]
    done = subprocess.run(worker, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, dict[str, float]] = json.loads(done.stdout)
    return measured


def table(measured: dict[str, dict[str, float]]) -> str:
    """The measurements in Markdown, with how many times ours each peer takes."""
    rows = [
        f"| expression | {OURS} | "
        + " | ".join(f"{peer} {version}" for peer, version in PEERS.items())
        + " |"
    ]
    rows.append("| --- | ---: | " + " | ".join("---:" for _ in PEERS) + " |")
    for title, times in measured.items():
        peers = (f"{times[peer]:,.0f} ({times[peer] / times[OURS]:,.0f} times)" for peer in PEERS)
        rows.append(f"| {title}: `{EXPRESSIONS[title]}` | {times[OURS]:.1f} | " + " | ".join(peers) + " |")
    return "\n".join(rows)


def write(page: Path, text: str) -> None:
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each expression and evaluator")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, help="put the table into this page")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        json.dump(measure(arguments.seconds), sys.stdout)
        return 0
    compile_packages()
    with tempfile.TemporaryDirectory(prefix="bench-cel-") as folder:
        measured = with_peers(Path(folder), arguments.seconds)
    if arguments.json:
        machine = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        }
        json.dump(
            {"microseconds": measured, "date": datetime.now(UTC).date().isoformat(), **machine},
            sys.stdout,
            indent=2,
        )
        print()
    else:
        print(table(measured))
    if arguments.write:
        write(arguments.write, table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
