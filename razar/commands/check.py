"""Check every file of a mission and report every fault at once; nothing is started or written.

Exit code 2 if there are any.
"""

from __future__ import annotations

import argparse

from razar.operator.boot import add_mission, boot_with

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_mission(parser)
    parser.add_argument("--brief", metavar="FILE", help="check this mission brief too")


def run(arguments: argparse.Namespace) -> int:
    """Check; return the exit code."""
    brief = [] if arguments.brief is None else ["--brief", arguments.brief]
    return boot_with(arguments, "--check", *brief)
