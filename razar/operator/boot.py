"""The boot's own command line and loading, with the mission that nobody named filled in."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from razar.config.model import EnvironmentSpec, MissionConfig

__all__ = ["add_mission", "boot_with", "load_files"]


def add_mission(parser: argparse.ArgumentParser) -> None:
    """Declare what chooses the files of a mission."""
    parser.add_argument(
        "--mission", metavar="NAME", help="the mission (default: that of boot_config.json or --config)"
    )
    parser.add_argument(
        "--environments", metavar="FILE", help="instead of razar_env.yaml beside the configuration"
    )


def boot_with(arguments: argparse.Namespace, *flags: str) -> int:
    """Run the boot's command line with these flags; return its exit code."""
    from razar.boot_orchestrator import main
    from razar.config.faults import ConfigurationError

    try:
        name, path = _resolve(arguments.mission, arguments.config)
    except ConfigurationError as fault:
        if arguments.json:
            sys.stdout.write(fault.to_json().decode() + "\n")
        else:
            sys.stderr.write(f"{fault}\n")
        return 2
    argv = ["--mission", name, "--config", path, *flags]
    if arguments.environments is not None:
        argv += ["--environments", arguments.environments]
    if arguments.json:
        argv.append("--json")
    return main(argv)


def load_files(
    mission: str | None, config: str | None, environments: str | None = None
) -> tuple[MissionConfig, tuple[EnvironmentSpec, ...]]:
    """Load the configuration and the environments of a mission; raise ConfigurationError."""
    from razar.boot.options import BootOptions
    from razar.boot_orchestrator import load

    name, path = _resolve(mission, config)
    return load(BootOptions(mission=name, config=path, environments=environments))[:2]


def _resolve(mission: str | None, config: str | None) -> tuple[str, str]:
    """Return name and file of a mission; raise ConfigurationError."""
    from razar.config.missions import find_mission

    path = find_mission(mission, config=config, folder=os.getcwd())
    return mission or _name_in(path), path


def _name_in(path: str) -> str:
    """The name in a file; of one that cannot be read any name will do, as loading it tells what is wrong."""
    import msgspec

    from razar.config.document import read_bytes
    from razar.config.faults import ConfigurationError

    try:
        found = msgspec.json.decode(read_bytes(path))
    except (ConfigurationError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "unnamed"
    name = found.get("mission") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name and not name.startswith("-") else "unnamed"
