"""The ``razar`` command: finds the verb, imports it and nothing else, and turns faults into exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from razar import __version__
from razar.utils.pipes import until_closed
from razar.utils.places import default_logs, mission_files

__all__ = ["EXIT_NOT_RUNNING", "EXIT_UNKNOWN", "EXIT_USAGE", "VERBS", "add_shared", "main"]

EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
#: A supervisor is there but does not answer, so nothing certain can be said.
EXIT_UNKNOWN = 4

VERBS: dict[str, str] = {
    "boot": "boot a mission and keep it running",
    "status": "show a mission and its components",
    "stop": "stop components, or the whole mission",
    "restart": "start components anew",
    "logs": "show what components have written",
    "events": "show what happened, from the journal",
    "timeline": "show where the time of the last boot went",
    "plan": "show what a boot would do, in which order",
    "check": "check every configuration file",
    "quarantine": "list, show and release what was given up",
    "repairs": "list, show, approve, reject and undo repairs",
    "doctor": "check this machine and this mission folder",
    "schema": "print the JSON Schema of a file",
}
#: Verbs that speak of one mission, which must therefore be clear.
_OF_A_MISSION = ("status", "stop", "restart", "logs", "events", "timeline", "quarantine")
#: Options before the verb that take a value.
_VALUED = ("--logs", "--config")

_EPILOG = """\
exit codes:
  0    done; status: the mission is running (a degraded one too: a line says so)
  1    not done, or something is wrong; the reason is on stderr
  2    bad usage or configuration
  3    the mission is not running
  4    its supervisor does not answer
  130  interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return until_closed(lambda: _dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    first = 0
    while first < len(arguments) and arguments[first].startswith("-"):
        first += 2 if arguments[first] in _VALUED else 1
    top = _top_parser()
    shared = top.parse_args(arguments[:first])
    if first >= len(arguments):
        top.print_help()
        return 0 if not arguments else EXIT_USAGE
    verb, rest = arguments[first], arguments[first + 1 :]
    if verb not in VERBS:
        _unknown_verb(top, verb)
    if verb == "boot":
        from razar.commands.boot import forward

        return forward([*arguments[:first], *rest])
    return _run(verb, rest, shared)


def _run(verb: str, rest: list[str], shared: argparse.Namespace) -> int:
    from importlib import import_module

    command = import_module(f"razar.commands.{verb}")
    parser = argparse.ArgumentParser(
        prog=f"razar {verb}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    add_shared(parser.add_argument_group("options of every command"))
    parsed = parser.parse_args(rest, shared)
    if parsed.logs is None:
        if parsed.config is None and verb in _OF_A_MISSION:
            parsed.config = _only_mission(parser)
        # Everything a mission writes is beside its configuration unless somebody said otherwise.
        parsed.logs = default_logs(parsed.config or "")
    code: int = command.run(parsed)
    return code


def _only_mission(parser: argparse.ArgumentParser) -> str | None:
    """Return the configuration meant in a folder that has nothing but ``missions/``."""
    paths = mission_files()
    if len(paths) > 1:
        parser.error(f"there are several missions; say which: --config {', --config '.join(paths)}")
    return paths[0] if paths else None


def _top_parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {verb:<11} {what}" for verb, what in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="razar",
        usage="razar [--logs DIR] [--config FILE] [--json] COMMAND …",
        description="Boot a mission, prove it healthy, keep it so.",
        epilog=f"commands (razar COMMAND --help says more):\n{listing}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shared(parser, None)
    parser.add_argument("--version", action="version", version=f"razar {__version__}")
    return parser


def add_shared(parser: argparse._ActionsContainer, default: str | None = argparse.SUPPRESS) -> None:
    """Declare the options of every command; they may stand before or behind the verb."""
    add = parser.add_argument
    add("--logs", metavar="DIR", default=default, help="folder the mission writes to (default: logs)")
    add("--config", metavar="FILE", default=default, help="the mission's configuration")
    add("--json", action="store_true", default=default or False, help="print JSON")


def _unknown_verb(parser: argparse.ArgumentParser, verb: str) -> NoReturn:
    from difflib import get_close_matches

    near = get_close_matches(verb, VERBS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(VERBS)}"
    parser.error(f"there is no command {verb!r}{hint}")


if __name__ == "__main__":
    sys.exit(main())
