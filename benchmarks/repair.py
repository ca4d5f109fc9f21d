"""What a repair costs beside the agent's own time and the tests' own time.

A real mission whose component has a bug is booted; a server on loopback plays the agent, thinks a tenth of a
second (no model is as quick) and notes when it is asked and when it answers. Instants come from the journal.
The floor beside it does the least that a script could do with the same patch: copy the tree, ``git apply`` it
there, run the test, ``git apply`` it in the tree. Run it with ``make bench-repair`` or::

    python -m benchmarks.repair [--files 2000] [--runs 5] [--retries 1,0] [--json]
                                [--write docs/benchmarks-repair.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from benchmarks.bytecode import compile_packages

#: Milliseconds that the figures are held against.
TARGETS = {"handover sent": 50.0, "answer to relaunch": 250.0, "memory, whole cycle": 1000.0}
#: Seconds the agent thinks.
THINKING = 0.1
BUG = '    return NAMES["raedy"]\n'
FIX = '    return NAMES["ready"]\n'
SOURCE = f'NAMES = {{"ready": "up"}}\n\n\ndef greeting():\n{BUG}'
SERVICE = (
    'import time\nfrom greeting import greeting\n\nprint("ready:", greeting(), flush=True)\n'
    "while True:\n    time.sleep(60)\n"
)
CHECK = 'import sys\nsys.path.insert(0, "src")\nfrom greeting import greeting\nassert greeting() == "up"\n'
DIFF = f"--- a/src/greeting.py\n+++ b/src/greeting.py\n@@ -2,4 +2,4 @@\n \n \n def greeting():\n-{BUG}+{FIX}"


class Agent(ThreadingTCPServer):
    """Answers every request with the patch, and notes the instants (epoch seconds)."""

    daemon_threads = True
    asked = 0.0
    answered = 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/chat/completions"


class _Handler(BaseHTTPRequestHandler):
    server: Agent

    def do_POST(self) -> None:
        """Answer with the patch."""
        self.server.asked = time.time()
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(THINKING)
        edits = [{"path": "src/greeting.py", "old": BUG, "new": FIX}]
        proposal = {"summary": "spell it right", "root_cause": "a misspelt key", "edits": edits}
        function = {"name": "propose_patch", "arguments": json.dumps(proposal)}
        message = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        }
        body = json.dumps(
            {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.answered = time.time()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def make_mission(folder: Path, files: int, retries: int = 1) -> None:
    """A component with a bug in a tree of so many files; it is handed over after ``retries`` more ignitions."""
    (folder / "src").mkdir(parents=True)
    (folder / "src/greeting.py").write_text(SOURCE)
    (folder / "src/service.py").write_text(SERVICE)
    (folder / "checks").mkdir()
    (folder / "checks/check.py").write_text(CHECK)
    for number in range(files - 4):
        part = folder / "src" / f"part{number % 50}"
        part.mkdir(exist_ok=True)
        (part / f"module{number}.py").write_text(f"VALUE = {number}\n" * 40)
    component = {
        "id": "service",
        "layer": "core",
        "entrypoint": ["python", "src/service.py"],
        "health": "log: ^ready",
        "retries": retries,
        "restart": {"backoff": "500ms"},
        "repair": {"paths": ["src/*.py"], "tests": ["python checks/check.py"]},
    }
    config = {"mission": "bench", "crown": {"policy": "off"}, "components": [component]}
    (folder / "boot_config.json").write_text(json.dumps(config))


def boot(folder: Path, **environ: str) -> list[dict[str, Any]]:
    """Boot and stop at once; return the journal's records of this boot."""
    journal = folder / "logs/razar_journal.jsonl"
    before = len(journal.read_text().splitlines()) if journal.exists() else 0
    names = ("RAZAR_", "KIMI2_", "AIRSTAR_", "RSTAR_", "OPENCODE_", "CROWN_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    command = [
        sys.executable,
        "-m",
        "razar.boot_orchestrator",
        "--mission",
        "bench",
        "--exit-after-boot",
        "-q",
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, "RAZAR_METRICS_PORT": "0", **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode != 0:
        raise SystemExit(f"the mission was not repaired: {done.stderr}")
    return [json.loads(line) for line in journal.read_text().splitlines()[before:]]


def instant(records: list[dict[str, Any]], kind: str, which: int = 0) -> float:
    """When the journal took an event of this kind."""
    found = [record["at"] for record in records if record.get("event", {}).get("event") == kind]
    return float(found[which])


def measure(folder: Path, retries: int) -> dict[str, float]:
    """One repair by the agent and one from memory, in milliseconds."""
    agent = Agent()
    try:
        records = boot(folder, KIMI2_ENDPOINT=agent.url)
    finally:
        agent.shutdown()
        agent.server_close()
    patches = [json.loads(line) for line in (folder / "logs/razar_ai_patches.json").read_text().splitlines()]
    tests = sum(test["seconds"] for test in patches[-1]["tests"])
    sent = agent.asked - instant(records, "Exited", retries)
    relaunched = instant(records, "Spawned", retries + 1) - agent.answered - tests
    (folder / "src/greeting.py").write_text(SOURCE)
    records = boot(folder)
    cycle = instant(records, "ProbePassed") - instant(records, "Exited", retries)
    return {
        "handover sent": sent * 1e3,
        "answer to relaunch": relaunched * 1e3,
        "tests of the patch": tests * 1e3,
        "memory, whole cycle": cycle * 1e3,
    }


def floor(folder: Path, work: Path) -> dict[str, float]:
    """The same patch by a script: no policy, no sandbox, no undo."""
    diff = work / "patch.diff"
    diff.write_text(DIFF)
    began = time.perf_counter()
    copy = work / "copy"
    subprocess.run(["cp", "-a", str(folder), str(copy)], check=True)
    subprocess.run(["git", "apply", str(diff)], cwd=copy, check=True)
    before_test = time.perf_counter()
    subprocess.run([sys.executable, "checks/check.py"], cwd=copy, check=True)
    test = time.perf_counter() - before_test
    subprocess.run(["git", "apply", str(diff)], cwd=folder, check=True)
    taken = time.perf_counter() - began
    shutil.rmtree(copy)
    return {"floor: copy, git apply, test": (taken - test) * 1e3, "floor: the test": test * 1e3}


def table(rows: dict[str, list[float]]) -> str:
    """A Markdown table of medians."""
    lines = ["| figure | median ms | least | most | to reach |", "|---|---|---|---|---|"]
    for name, values in rows.items():
        target = f"{TARGETS[name]:g}" if name in TARGETS else "–"
        numbers = (statistics.median(values), min(values), max(values))
        lines.append(f"| {name} | {' | '.join(f'{number:.1f}' for number in numbers)} | {target} |")
    return "\n".join(lines)


def figures(files: int, runs: int, retries: int) -> dict[str, list[float]]:
    """All figures of some runs, after one that warms the machine up."""
    rows: dict[str, list[float]] = {}
    for number in range(runs + 1):
        with tempfile.TemporaryDirectory(prefix="bench-repair-") as name:
            folder = Path(name) / "mission"
            make_mission(folder, files, retries)
            found = floor(folder, Path(name))
            (folder / "src/greeting.py").write_text(SOURCE)
            os.sync()  # What the script leaves to be written is not the mission's.
            found |= measure(folder, retries)
            for key, value in found.items() if number else ():
                rows.setdefault(key, []).append(value)
    return rows


def heading(retries: int) -> str:
    """What the figures of one table are about."""
    if retries == 0:
        return "The first failure of a boot, before RAZAR has loaded what a hand-over needs"
    return f"A component that is handed over after {retries} more ignition{'s' if retries > 1 else ''}"


def document(tables: dict[int, dict[str, list[float]]], files: int, runs: int) -> str:
    """The page."""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    text = (
        f"# What a repair costs\n\nTaken {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores, {system}; medians "
        f"of {runs} runs, a tree of {files} files.\nMade by `python -m benchmarks.repair --write "
        "docs/benchmarks-repair.md`, which compiles the packages first, as every benchmark here does.\n\n"
        "*handover sent*: from the failure's being noticed to the agent's being asked; *answer to relaunch*: from "
        "the answer to the start of the\nrepaired component, without the tests' own time; *memory, whole cycle*: "
        "from a known failure to the repaired component's being\nhealthy, tests included, nobody asked. The agent "
        f"thinks for {THINKING:g} s, which no figure holds.\n"
    )
    for retries, rows in tables.items():
        text += f"\n## {heading(retries)}\n\n{table(rows)}\n"
    return text


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument(
        "--retries", default="1,0", help="ignitions before it is handed over; 0: the first failure of a boot"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", metavar="FILE", help="keep the tables in this file")
    options = parser.parse_args()
    compile_packages()
    tables = {
        int(retries): figures(options.files, options.runs, int(retries))
        for retries in options.retries.split(",")
    }
    if options.json:
        print(json.dumps(tables))
    else:
        print("\n\n".join(f"{heading(retries)}\n\n{table(rows)}" for retries, rows in tables.items()))
    if options.write:
        Path(options.write).write_text(document(tables, options.files, options.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
