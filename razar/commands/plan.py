"""Show what a boot would do: environments to build, order, waves, dependencies, probes.

Nothing is started or written.
"""

from __future__ import annotations

import argparse

from razar.operator.boot import add_mission, boot_with

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_mission(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; return the exit code."""
    return boot_with(arguments, "--plan")
