"""The command line of the boot."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["BootOptions", "parse"]

EXIT_CODES = """\
exit codes:
  0        every required component was running, and the stop was clean
  1        the mission failed; the components are named on stderr
  2        bad usage or configuration; nothing was started
  3        Crown refused, or is required and could not be reached
  4        an environment could not be built
  5        another supervisor already runs this mission
  130/143  interrupted before the boot ended; everything was stopped
           (129 and 131 after SIGHUP and SIGQUIT)
"""


class BootOptions(Struct, frozen=True, kw_only=True):
    """What the operator asked for."""

    mission: str
    brief: str | None = None
    config: str | None = None
    environments: str | None = None
    logs: str | None = None
    check: bool = False
    plan: bool = False
    detach: bool = False
    exit_after_boot: bool = False
    repair: bool = True
    retries: int | None = None
    remote_attempts: int | None = None
    long_task: bool = False
    locked: bool = False
    offline: bool = False
    verify: bool = False
    json: bool = False
    verbosity: int = 0


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal; argparse would import shutil, and with it the compressors, to ask how wide."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(1).columns or 80
        except (OSError, ValueError):
            columns = 80
        super().__init__(prog, width=columns - 2)


def parse(argv: Sequence[str], prog: str = "python -m razar.boot_orchestrator") -> BootOptions:
    """Read the arguments; argparse leaves with exit code 2 and a usage line where they are wrong."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Boot a mission: build its environments, agree it with Crown, ignite and prove its components.",
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--mission", required=True, metavar="NAME", help="the mission to boot")
    add(
        "--brief",
        metavar="FILE",
        help="a mission brief to send to Crown instead of the one made from the plan",
    )
    add("--config", metavar="FILE", help="instead of missions/NAME.json or boot_config.json")
    add("--environments", metavar="FILE", help="instead of razar_env.yaml beside the configuration")
    add(
        "--logs",
        metavar="DIR",
        help="where everything is written (default: logs beside the configuration, one each in missions/)",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check", action="store_true", help="check every file and leave; nothing is written or started"
    )
    mode.add_argument(
        "--plan", action="store_true", help="show what would be done, in which order, and leave"
    )
    mode.add_argument(
        "--detach", action="store_true", help="return when the boot has ended; leave a supervisor running"
    )
    mode.add_argument(
        "--exit-after-boot", action="store_true", help="stop everything once the boot has ended"
    )
    add(
        "--no-repair",
        dest="repair",
        action="store_false",
        help="quarantine failures without asking repair agents",
    )
    add("--retries", type=_count, metavar="N", help="ignition attempts after the first, for every component")
    add("--remote-attempts", type=_count, metavar="N", help="hand a failure to repair agents at most N times")
    add("--long-task", action="store_true", help="hand failures over until a repair works or Ctrl-C")
    add("--locked", action="store_true", help="refuse to resolve: the environment locks must be current")
    add("--offline", action="store_true", help="build environments from the local cache alone")
    add(
        "--verify",
        action="store_true",
        help="compare the contents of installed files, not only size and time",
    )
    add("--json", action="store_true", help="print one JSON object a line")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", dest="verbosity", action="count", default=0, help="say more")
    loud.add_argument(
        "-q", "--quiet", dest="verbosity", action="store_const", const=-1, help="say only what failed"
    )
    return BootOptions(**vars(parser.parse_args(list(argv))))


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def usage_error(message: str) -> int:
    """Print a usage error; return its exit code."""
    print(f"razar: {message}", file=sys.stderr)
    return 2
