"""Check this machine and this mission folder: one row for each thing, with what to do about it.

Exit code 1 if anything would keep the mission from running. Nothing is written or started.
"""

from __future__ import annotations

import argparse
import os

from razar.operator.boot import add_mission
from razar.operator.machine_checkup import check_machine
from razar.operator.mission_checkup import check_mission
from razar.operator.output import print_json, print_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_mission(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return the exit code."""
    rows = [*check_machine(os.environ), *check_mission(arguments, os.environ)]
    if arguments.json:
        print_json([row._asdict() for row in rows])
    else:
        table = [
            (row.status, row.check, f"{row.found} — {row.advice}" if row.advice else row.found)
            for row in rows
        ]
        print_table(("STATUS", "CHECK", "FOUND"), table, coloured="STATUS")
    return 1 if any(row.status == "fail" for row in rows) else 0
