"""Start components anew, whatever their state, and wait until they are healthy.

Exit code 1 if one of them does not become healthy; the reason is on stderr.
"""

from __future__ import annotations

import argparse

from razar.operator.request import add_timeout, request_components

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="a component")
    add_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    """Restart; return the exit code."""
    return request_components(arguments, "restart", arguments.ids)
