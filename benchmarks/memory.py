"""The memory bundle beside the same work in Python over sqlite3, and beside tantivy for the search.

Each keeps the same records, in batches that are committed one by one, and then answers the same queries with
the texts of the ten best. The texts are made: words by rank of frequency (Zipf), as in logs and documents.
All of it in one process, one after the other, in a temporary folder. Run it with ``make bench-memory`` or::

    python -m benchmarks.memory [--records 100000] [--queries 500] [--json] [--write docs/memory.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.bytecode import compile_packages
from benchmarks.memory_judge import Judge
from benchmarks.memory_peers import Bundle, Keeper, Sqlite, Tantivy

ROOT = Path(__file__).resolve().parent.parent
PEERS = {"tantivy": "0.27.0"}
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
BATCH = 1000
BUSY = " The machine was busy with other work: read the ratios and the time on a processor, not the rest."
#: Queries whose hits are judged, which takes a while.
JUDGED = 200
#: Records that are kept one by one.
SINGLE = 200
#: Different words, and how many of them a record and a query have.
VOCABULARY = 50_000
RECORD, QUERY = (6, 30), (1, 6)
#: Processes that are started to time an import.
STARTS = 15
#: What one of them does; it prints milliseconds.
START = """
import sys, time
began = time.perf_counter()
from neoabzu_memory import MemoryBundle
imported = time.perf_counter()
bundle = MemoryBundle(sys.argv[1])
bundle.stats()
opened = time.perf_counter()
bundle.query("w0001 w0100 w2000")
print((imported - began) * 1e3, (opened - imported) * 1e3, (time.perf_counter() - opened) * 1e3)
"""

T = TypeVar("T")


class Texts:
    """Texts of words that occur as often as in writing: the n-th most frequent 1/n as often as the first."""

    def __init__(self, seed: int) -> None:
        self._numbers = random.Random(seed)
        self._words = [f"w{rank:04x}" for rank in range(VOCABULARY)]
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(VOCABULARY)))

    def text(self, least: int, most: int) -> str:
        count = self._numbers.randint(least, most)
        return " ".join(self._numbers.choices(self._words, cum_weights=self._weights, k=count))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(value * 1e3 for value in seconds)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "max": ordered[-1],
    }


class Timed(Generic[T]):
    """What a call returned, how long it took, and for how long this thread was on a processor; in seconds."""

    def __init__(self, call: Callable[..., T], *arguments: Any) -> None:
        began, began_work = time.perf_counter(), time.thread_time()
        self.result = call(*arguments)
        self.worked, self.took = time.thread_time() - began_work, time.perf_counter() - began


def batches(records: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for start in range(0, len(records), BATCH):
        yield start, records[start : start + BATCH]


def measure(keeper: Keeper, records: Sequence[str], queries: Sequence[str]) -> dict[str, Any]:
    """Keep all records, then ask all queries."""
    kept = [Timed(keeper.keep, first, some) for first, some in batches(records)]
    one = [Timed(keeper.keep, len(records) + n, [records[n]]) for n in range(SINGLE)]
    keeper.settle()
    asked = ask(keeper, queries)
    merging = Timed(keeper.merge)
    merged = ask(keeper, queries) if merging.result else asked
    return {
        "records_per_second": len(records) / sum(each.took for each in kept),
        "remember_ms": percentiles([each.took for each in one]),
        "query_ms": percentiles([each.took for each in asked]),
        "query_cpu_ms": percentiles([each.worked for each in asked]),
        "merge_ms": merging.took * 1e3,
        "merged_query_ms": percentiles([each.took for each in merged]),
        "merged_query_cpu_ms": percentiles([each.worked for each in merged]),
        "bytes": keeper.size(),
        "hits": [[number for number, _ in each.result] for each in asked],
    }


def ask(keeper: Keeper, queries: Sequence[str]) -> list[Timed[list[tuple[int, str]]]]:
    """Ask once before it counts, for what a long-lived process has in its caches."""
    for query in queries[:50]:
        keeper.ask(query)
    return [Timed(keeper.ask, query) for query in queries]


def starts(path: str) -> dict[str, float]:
    """Milliseconds to import the package, and to open the file; medians over new processes."""
    command = [sys.executable, "-c", START, path]
    lines = [
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        for _ in range(STARTS)
    ]
    columns = zip(*([float(part) for part in line.split()] for line in lines), strict=True)
    imported, opened, asked = (statistics.median(column) for column in columns)
    return {"import_ms": imported, "open_ms": opened, "first_query_ms": asked}


def worker(count: int, asked: int) -> dict[str, Any]:
    """Measure all of them in this process."""
    texts = Texts(1)
    records = [texts.text(*RECORD) for _ in range(count)]
    queries = [texts.text(*QUERY) for _ in range(asked)]
    results: dict[str, Any] = {"records": count, "queries": asked}
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        keepers: list[Keeper] = [Bundle(folder), Sqlite(folder), Tantivy(folder)]
        for keeper in keepers:
            results[keeper.name] = measure(keeper, records, queries)
            keeper.close()
        results["start"] = starts(keepers[0].path)
    hits = {keeper.name: results[keeper.name].pop("hits") for keeper in keepers}
    judged = queries[:JUDGED]
    shares = Judge([*records, *records[:SINGLE]]).shares(judged, [found[:JUDGED] for found in hits.values()])
    results["worth"] = dict(zip(hits, shares, strict=True))
    return results


def with_peers(folder: Path, count: int, asked: int) -> dict[str, Any]:
    """Install the peers into an environment of their own and measure there."""
    from uv import find_uv_bin

    python = folder / "peers/bin/python"
    subprocess.run(
        [find_uv_bin(), "venv", "-q", "--python", sys.executable, str(folder / "peers")], check=True
    )
    packages = [f"{name}=={version}" for name, version in PEERS.items()]
    install = [find_uv_bin(), "pip", "install", "-q", "--compile-bytecode", "-p", str(python), *packages]
    subprocess.run(install, check=True)
    command = [str(python), "-m", "benchmarks.memory", "--worker"]
    command += ["--records", str(count), "--queries", str(asked)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def table(measured: dict[str, Any]) -> str:
    """The measurements in Markdown."""
    load = measured["load"]
    lines = [
        f"Taken {measured['date']} on {measured['cores']} cores ({measured['machine']}, Linux "
        f"{platform.release()}), Python {measured['python']}, load {load[0]:.1f} before and {load[1]:.1f} after: "
        f"{measured['records']:,} records of {RECORD[0]} to {RECORD[1]} words, "
        f"{measured['queries']:,} queries of {QUERY[0]} to {QUERY[1]} words."
        + (BUSY if max(load) > measured["cores"] else ""),
        "",
        "Milliseconds; *processor* is the time of the asking thread alone; *merged*: after the parts of the index "
        f"were merged, which `initialize()` does at every boot ({measured[Bundle.name]['merge_ms']:.0f} ms here) and "
        "tantivy on its own.",
        "",
        "| | records/s, batches of 1,000 | one record, p50 / p99 | query, p50 / p99 | processor, p99 | "
        "merged, p50 / p99 | processor, p99 | MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in (Bundle.name, Sqlite.name, Tantivy.name):
        row = measured[name]
        one, query, merged = row["remember_ms"], row["query_ms"], row["merged_query_ms"]
        title = f"{name} {PEERS[name]}" if name in PEERS else name
        lines.append(
            f"| {title} | {row['records_per_second']:,.0f} | {one['p50']:.2f} / {one['p99']:.2f} | "
            f"{query['p50']:.2f} / {query['p99']:.2f} | {row['query_cpu_ms']['p99']:.2f} | "
            f"{merged['p50']:.2f} / {merged['p99']:.2f} | {row['merged_query_cpu_ms']['p99']:.2f} | "
            f"{row['bytes'] / 1e6:.0f} |"
        )
    start = measured["start"]
    shares = ", ".join(f"{name} {share:.1%}" for name, share in measured["worth"].items())
    lines += [
        "",
        f"A new process: import {start['import_ms']:.1f} ms, open {start['open_ms']:.1f} ms, the first query "
        f"{start['first_query_ms']:.1f} ms (medians of {STARTS}).",
        f"What the ten hits are worth, as a share of the ten best by BM25 over every record: {shares}.",
    ]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, help="put the table into this page")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump(worker(options.records, options.queries), sys.stdout)
        return 0
    compile_packages()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        measured = with_peers(Path(folder), options.records, options.queries)
    measured |= {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": [load, os.getloadavg()[0]],
    }
    print(json.dumps(measured, indent=2) if options.json else table(measured))
    if options.write:
        write(options.write, table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
