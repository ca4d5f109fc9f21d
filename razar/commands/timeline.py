"""Show where the time of the last boot went: each component, and the critical path.

The critical path is the chain of waits that the boot could not have been shorter than. Dependencies
come from the configuration as it is now; where it cannot be read, each component is taken to have
waited for the one that was healthy last before it started.
"""

from __future__ import annotations

import argparse
import os
import time

from razar.control.client import supervisor
from razar.engine.events import BootStarted
from razar.operator.boot import load_files
from razar.operator.journal import last_boot, read_all
from razar.operator.mission import JOURNAL_NAME, boot_ended, read_snapshot
from razar.operator.output import clean, complain, paint, print_json, print_table
from razar.operator.timeline import Boot, Step, read_boot
from razar.utils.times import utc

__all__ = ["add_arguments", "run"]

_BAR = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the timeline; return the exit code."""
    records, problems = read_all(os.path.join(arguments.logs, JOURNAL_NAME))
    for problem in problems:
        complain(problem)
    if not records:
        complain(f"there is no journal in {arguments.logs}: no mission has been booted there (see --logs)")
        return 1
    records = last_boot(records)
    first = records[0].event
    mission = first.mission if isinstance(first, BootStarted) else None
    successes, dependencies = _configuration(arguments, mission)
    ended = boot_ended(read_snapshot(arguments.logs), records[0].boot, records[0].at)
    boot = read_boot(
        records,
        successes=successes,
        dependencies=dependencies,
        ended=ended,
        now=time.time() if ended is None and supervisor(arguments.logs) is not None else None,
    )
    if boot is None:
        complain("the journal no longer holds the beginning of the last boot")
        return 1
    if arguments.json:
        print_json(boot.to_json())
    else:
        _print(boot)
    return 0


def _configuration(
    arguments: argparse.Namespace, mission: str | None
) -> tuple[dict[str, int], dict[str, list[str]] | None]:
    """Read what the journal does not tell: probes needed in a row, and who waits for whom."""
    from razar.config.faults import ConfigurationError

    try:
        config, _ = load_files(mission, arguments.config)
    except ConfigurationError as fault:
        complain(f"dependencies are not known, as the configuration cannot be read: {fault.faults[0]}")
        return {}, None
    successes = {component.id: component.probe.successes for component in config.components}
    if config.ignition == "sequential":
        return successes, None
    return successes, {
        component.id: [edge.id for edge in component.depends_on] for component in config.components
    }


def _print(boot: Boot) -> None:
    print(f"mission {clean(boot.mission)}, boot of {utc(boot.began)}: {boot.seconds:.3f} s")
    phases = [
        (phase.name, f"{max(0.0, phase.end - phase.seconds):.3f}", f"{phase.seconds:.3f}", phase.outcome)
        for phase in boot.phases
    ]
    if phases:
        print_table(("PHASE", "AT s", "TOOK s", "OUTCOME"), phases, right=("AT s", "TOOK s"))
        print()
    rows = [
        (
            step.id,
            f"{step.started:.3f}",
            "-" if step.healthy is None else f"{step.healthy:.3f}",
            f"{step.settled - step.started:.3f}",
            str(step.attempts),
            step.outcome,
            _bar(step, boot.seconds),
        )
        for step in boot.steps
    ]
    right = ("STARTED s", "HEALTHY s", "TOOK s", "ATTEMPTS")
    print_table(
        ("COMPONENT", "STARTED s", "HEALTHY s", "TOOK s", "ATTEMPTS", "OUTCOME", ""), rows, right=right
    )
    if boot.path:
        print(f"\n{paint('critical path', 'bold')}")
        path = [(f"{boot.percent(seconds):.1f} %", f"{seconds:.3f}", what) for what, seconds in boot.path]
        print_table(("SHARE", "TOOK s", "WHAT"), path, right=("SHARE", "TOOK s"))


def _bar(step: Step, total: float) -> str:
    """Draw the time between start and health on a line as long as the boot."""
    if total <= 0:
        return ""
    begin = min(_BAR - 1, int(_BAR * step.started / total))
    end = max(begin + 1, min(_BAR, round(_BAR * step.settled / total)))
    return " " * begin + ("█" if step.healthy is not None else "▒") * (end - begin)
