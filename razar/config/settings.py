"""The settings of a mission beside its components: Crown and repair."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from razar.config.context import Context
from razar.config.endpoints import check_url
from razar.config.faults import Fault, Problem, quote
from razar.config.model import RUNGS, CrownSettings, RepairSettings
from razar.config.wire import BudgetEntry, CrownEntry, RepairEntry

__all__ = ["crown_settings", "repair_settings"]

_VARIABLE = "CROWN_WS_URL"


def crown_settings(entry: CrownEntry | UnsetType, context: Context) -> CrownSettings:
    """Check Crown's settings; the URL comes from the file, else from the environment."""
    if not isinstance(entry, CrownEntry):
        entry = CrownEntry()
    launcher = None
    if entry.model_launcher is not UNSET:
        launcher = context.path(("crown", "model_launcher"), entry.model_launcher)
        if launcher is not None:
            missing = context.executables.problem(
                launcher, cwd=context.root, search=None, shown=entry.model_launcher
            )
            if missing is not None:
                context.faults.add_problem(("crown", "model_launcher"), missing)
    return CrownSettings(
        url=_url(entry, context),
        policy=entry.policy,
        timeout=context.duration(("crown", "timeout"), entry.timeout, above_zero=True),
        required_model=entry.required_model,
        model_launcher=launcher,
    )


def _url(entry: CrownEntry, context: Context) -> str | None:
    if entry.url is not UNSET:
        url = context.text(("crown", "url"), entry.url)
        problem = None if url is None else _problem(url, entry.url)
        if problem is not None:
            context.faults.add_problem(("crown", "url"), problem)
        return url
    url = context.environ.get(_VARIABLE, "").strip()
    if not url or entry.policy == "off":
        return None
    problem = _problem(url, url)
    if problem is not None:
        place = f"environment variable {_VARIABLE}"
        fault = Fault(file=place, found="a value that is no such URL", expected=problem.expected)
        context.faults.add_elsewhere([fault])
    return url


def _problem(url: str, written: str) -> Problem | None:
    form = "ws://host:port or wss://host:port"
    if url.partition("://")[0].lower() not in ("ws", "wss"):
        return Problem(quote(written), form)
    try:
        check_url(url, written, form)
    except Problem as problem:
        return problem
    return None


def repair_settings(entry: RepairEntry | UnsetType, context: Context) -> RepairSettings:
    """Check the repair settings of a mission."""
    if not isinstance(entry, RepairEntry):
        return RepairSettings()
    return RepairSettings(
        ladder=None if entry.ladder is UNSET else _ladder(entry.ladder, context),
        attempts=None if entry.attempts is UNSET else entry.attempts,
        budget=_budget(entry.budget, context),
        approval=None if entry.approval is UNSET else entry.approval,
    )


def _ladder(names: list[str], context: Context) -> tuple[str, ...]:
    for number, name in enumerate(names):
        at = ("repair", "ladder", number)
        if not isinstance(name, str):
            continue  # Its form is a fault already.
        if name not in RUNGS:
            known = f"one of {', '.join(RUNGS)}"
            context.faults.add(at, quote(name), known, context.faults.suggest(name, RUNGS))
        elif name in names[:number]:
            context.faults.add(at, f"{quote(name)} once more", "every agent once")
    return tuple(names)


def _budget(entry: BudgetEntry | UnsetType, context: Context) -> dict[str, float]:
    if not isinstance(entry, BudgetEntry):
        return {}
    budget: dict[str, float] = {}
    if entry.requests is not UNSET:
        budget["requests"] = entry.requests
    if entry.tokens is not UNSET:
        budget["tokens"] = entry.tokens
    if entry.seconds is not UNSET:
        budget["seconds"] = context.duration(("repair", "budget", "seconds"), entry.seconds)
    if entry.concurrent is not UNSET:
        budget["concurrent"] = entry.concurrent
    return budget
