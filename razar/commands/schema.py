"""Print the JSON Schema (2020-12) of boot_config.json, razar_env.yaml or a mission brief."""

from __future__ import annotations

import argparse

from razar.operator.output import print_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    names = ("boot_config", "razar_env", "brief")
    parser.add_argument("file", nargs="?", default="boot_config", choices=names, help="default: boot_config")


def run(arguments: argparse.Namespace) -> int:
    """Print the schema; return the exit code."""
    from razar.config import schema

    make = {
        "boot_config": schema.boot_config_schema,
        "razar_env": schema.environments_schema,
        "brief": schema.brief_schema,
    }
    print_json(make[arguments.file]())
    return 0
