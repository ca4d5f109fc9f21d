#!/usr/bin/env python3
"""Check Crown, the metrics endpoint and every connector; with --include-remote the remote agents too."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from agents.razar.connectors.check import (  # noqa: E402
    REMOTE,
    Row,
    check_all,
    cost,
    decode_recording,
    exit_code,
    report,
)
from agents.razar.connectors.settings import SettingsError  # noqa: E402

RECORDINGS = REPOSITORY / "tests" / "integration" / "remote_agents"


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row for each check. Returns 0 if all are healthy, 1 if any is not, 2 if none is configured."""
    parser = argparse.ArgumentParser(
        description="Check Crown, the metrics endpoint and the connectors of RAZAR_CONNECTORS.",
        epilog="Exit: 0 all healthy, 1 any unhealthy, 2 nothing configured or bad usage.",
    )
    parser.add_argument(
        "--include-remote",
        action="store_true",
        help="also send the recorded payloads to KIMI2_ENDPOINT, AIRSTAR_ENDPOINT and RSTAR_ENDPOINT: "
        "one completion each, which may be charged",
    )
    parser.add_argument("--json", action="store_true", help="print the rows as a JSON array")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="seconds for each check (10)"
    )
    options = parser.parse_args(argv)
    if not 0 < options.timeout <= 3600:
        parser.error("--timeout: expected a number of seconds above 0, of at most 3600")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    recordings = _recordings() if options.include_remote else None
    if recordings is not None and (warning := cost(recordings, os.environ)) is not None:
        print(f"note: {warning}", file=sys.stderr, flush=True)
    try:
        rows = check_all(os.environ, timeout=options.timeout, recordings=recordings)
    except SettingsError as fault:
        parser.error(str(fault))
    report(rows)
    code = exit_code(rows)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        print(_table(rows))
        if code == 2:
            print("nothing is configured: set CROWN_WS_URL or RAZAR_CONNECTORS, or start a mission")
    return code


def _recordings() -> dict[str, Any]:
    found = {}
    for provider in REMOTE:
        try:
            data = (RECORDINGS / provider.recording).read_bytes()
        except OSError:
            continue
        found[provider.name] = decode_recording(data)
    return {name: request for name, request in found.items() if request is not None}


def _table(rows: list[Row]) -> str:
    cells = [("NAME", "ENDPOINT", "STATUS", "HTTP", "LATENCY", "HINT")]
    for row in rows:
        code = "-" if row.http_code is None else str(row.http_code)
        latency = "-" if row.latency is None else f"{row.latency * 1000:.0f} ms"
        cells.append((row.name, row.endpoint or "-", row.status, code, latency, row.hint))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[5]]).rstrip()
        for line in cells
    )


if __name__ == "__main__":
    from razar.utils.pipes import until_closed

    sys.exit(until_closed(main))
