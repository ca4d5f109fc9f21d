"""The life of one component: ignition, proof, failure, backoff, repair, quarantine, stop."""

from __future__ import annotations

from razar.engine import repair
from razar.engine.draft import Draft
from razar.engine.effects import (
    CancelRepair,
    CancelTimer,
    Kill,
    Launch,
    Probe,
    Quarantine,
    SetTimer,
    Signal,
    StopProbing,
)
from razar.engine.events import Exited, LaunchFailed, ProbeFailed, ProbePassed, RepairFinished, Spawned
from razar.engine.state import ComponentState

__all__ = [
    "backoff_ended",
    "deadline_passed",
    "exited",
    "fresh_start",
    "grace_ended",
    "ignite",
    "launch_failed",
    "probe_failed",
    "probe_passed",
    "repair_finished",
    "spawned",
    "stabilised",
    "stop",
]

#: Seconds of health after which the backoff starts from its first value again.
STABLE_AFTER = 30.0
#: Backoff grows up to this share above its nominal value, so that components do not march in step.
JITTER = 0.1
#: What a readiness probe of these kinds proved stays true, so there is nothing to ask again.
_NO_LIVENESS = frozenset({"log", "notify", "exit"})


def ignite(draft: Draft, id: str, cause: str) -> None:
    """Start the next incarnation."""
    component = draft.plan.components[id]
    incarnation = draft[id].incarnation + 1
    draft.enter(
        id,
        "igniting",
        cause,
        incarnation=incarnation,
        live=True,
        pid=None,
        closing=None,
        successes=0,
        failures=0,
        probe_error=None,
        error=None,
        hold=None,
        until=None,
    )
    draft.emit(
        Launch(id, incarnation),
        SetTimer(id, incarnation, "deadline", draft.now + component.probe.deadline),
    )


def fresh_start(draft: Draft, id: str, cause: str) -> None:
    """Forget earlier failures; the component waits for its dependencies and ignites again."""
    draft.cancel_timers(id)
    before = draft[id]
    if before.state == "repairing" and cause != "repair":
        draft.emit(CancelRepair(id, before.incarnation))
    draft.enter(
        id,
        "pending",
        cause,
        attempt=0,
        streak=0,
        restart_times=(),
        proven=False,
        closing=None,
        error=None,
        hold=None,
        until=None,
        awaiting=None,
        trial=None if before.proven else before.trial,
    )
    draft.mission(cursor=0)
    draft.reconsider.append(id)


def spawned(draft: Draft, event: Spawned) -> None:
    """The process exists: start to probe it, unless it is to stop already."""
    component = draft[event.component]
    if not component.live or component.pid is not None:
        return
    draft.set(event.component, pid=event.pid)
    if component.closing is not None:
        _ask_to_stop(draft, draft[event.component])
        return
    draft.enter(event.component, component.state, "spawned")
    if draft.plan.components[event.component].probe.kind != "exit":
        draft.emit(Probe(event.component, event.incarnation, "readiness"))


def launch_failed(draft: Draft, event: LaunchFailed) -> None:
    """No process: the attempt has failed."""
    if not draft[event.component].live:
        return
    _end_incarnation(draft, event.component)
    _gone(draft, event.component, event.error, "launch", ())


def probe_passed(draft: Draft, event: ProbePassed) -> None:
    """Count a success; enough of them prove the component healthy."""
    component = draft[event.component]
    if component.closing is not None or component.pid is None:
        return
    if component.state == "igniting":
        successes = component.successes + 1
        if successes < draft.plan.components[component.id].probe.successes:
            draft.set(component.id, successes=successes)
        else:
            _healthy(draft, component)
    elif component.state == "unhealthy":
        draft.enter(component.id, "running", "healthy", failures=0, error=None)
    elif component.state == "running" and component.failures:
        draft.set(component.id, failures=0)


def _healthy(draft: Draft, component: ComponentState) -> None:
    id, incarnation = component.id, component.incarnation
    repair.hold(draft, component)
    draft.enter(id, "running", "healthy", proven=True, failures=0, successes=0, probe_error=None, error=None)
    draft.emit(
        CancelTimer(id, incarnation, "deadline"),
        SetTimer(id, incarnation, "stable", draft.now + STABLE_AFTER),
    )
    if draft.plan.components[id].probe.kind in _NO_LIVENESS:
        draft.emit(StopProbing(id, incarnation))
    else:
        draft.emit(Probe(id, incarnation, "liveness"))


def probe_failed(draft: Draft, event: ProbeFailed) -> None:
    """While igniting, remember why; while running, count towards ``unhealthy``."""
    component = draft[event.component]
    if component.closing is not None:
        return
    if component.state == "igniting":
        if component.probe_error != event.error or component.successes:
            draft.set(component.id, probe_error=event.error, successes=0)
    elif component.state == "running":
        failures = component.failures + 1
        if failures < draft.plan.components[component.id].probe.failures:
            draft.set(component.id, failures=failures, probe_error=event.error)
            return
        restart = draft.plan.components[component.id].restart.policy != "never"
        draft.enter(
            component.id,
            "unhealthy",
            "liveness",
            failures=failures,
            probe_error=event.error,
            error=f"{failures} health checks in a row failed: {event.error}",
            closing="unhealthy" if restart else None,
        )
        if restart:
            _ask_to_stop(draft, draft[component.id])


def deadline_passed(draft: Draft, id: str) -> None:
    """Not healthy in time: stop this incarnation; its end decides what follows."""
    component = draft[id]
    if component.state != "igniting" or component.closing is not None:
        return
    probe = draft.plan.components[id].probe
    if probe.kind == "exit":
        error = f"not finished within {probe.deadline:g} s"
    else:
        last = component.probe_error or "no probe has been answered"
        error = f"not healthy within {probe.deadline:g} s; last probe: {last}"
    draft.set(id, closing="deadline", error=error)
    _ask_to_stop(draft, draft[id])


def exited(draft: Draft, event: Exited) -> None:
    """The incarnation is gone: by itself, or because it was asked to."""
    id = event.component
    component = draft[id]
    if not component.live:
        return
    _end_incarnation(draft, id)
    if component.closing in ("deadline", "unhealthy"):
        error = component.error or "stopped"
        _gone(draft, id, error, "deadline" if component.closing == "deadline" else "liveness", event.tail)
    elif component.closing is not None:
        _gone(draft, id, "", "operator", ())
    elif event.code == 0 and _may_end(draft, component):
        repair.hold(draft, component)
        draft.enter(id, "completed", "exit", error=None, trial=None)
    else:
        how = _describe_exit(event)
        when = (
            " before it was healthy" if component.state == "igniting" and not _is_exit_task(draft, id) else ""
        )
        _gone(draft, id, how + when, "exit", event.tail)


def _may_end(draft: Draft, component: ComponentState) -> bool:
    """Whether exit code 0 is a good end for the component as it is now."""
    plan = draft.plan.components[component.id]
    if draft.phase == "stopping":
        return False
    if component.state == "igniting":
        return _is_exit_task(draft, component.id)
    return plan.kind == "task" or plan.restart.policy != "always"


def _is_exit_task(draft: Draft, id: str) -> bool:
    return draft.plan.components[id].probe.kind == "exit"


def _describe_exit(event: Exited) -> str:
    if event.signal is not None:
        return f"killed by SIG{event.signal}"
    if event.code is not None:
        return f"exited with code {event.code}"
    return "disappeared; its exit status is unknown"


def _end_incarnation(draft: Draft, id: str) -> None:
    incarnation = draft[id].incarnation
    draft.set(id, live=False, pid=None)
    draft.emit(StopProbing(id, incarnation))
    draft.cancel_timers(id)


def _gone(draft: Draft, id: str, error: str, cause: str, tail: tuple[str, ...]) -> None:
    """Decide what follows the end of an incarnation."""
    component = draft[id]
    if draft.phase == "stopping" or component.closing == "stop":
        repair.abandon(draft, id)
        draft.enter(id, "stopped", "shutdown" if draft.phase == "stopping" else "operator", closing=None)
    elif component.closing == "restart":
        draft.set(id, restarts=component.restarts + 1)
        fresh_start(draft, id, "operator")
    else:
        _failed(draft, id, error, cause, tail)


def _failed(draft: Draft, id: str, error: str, cause: str, tail: tuple[str, ...]) -> None:
    component = draft.set(id, error=error, closing=None)
    plan = draft.plan.components[id]
    if component.trial is not None:
        repair.fail_trial(draft, id, error)
        _give_up(draft, id, error, cause, tail)
        return
    if not component.proven:
        if component.attempt < plan.retries:
            _back_off(draft, id, cause, tail, attempt=component.attempt + 1)
        else:
            _give_up(draft, id, error, cause, tail)
        return
    if plan.restart.policy == "never":
        draft.enter(id, "failed", cause, tail=tail)
        return
    # One that seems to lie in the future is from before the clock was set back, who knows how long ago.
    recent = tuple(t for t in component.restart_times if draft.now - plan.restart.window < t <= draft.now)
    if len(recent) >= plan.restart.limit:
        error = f"{error}; it was restarted {len(recent)} times in {plan.restart.window:g} s"
        draft.set(id, error=error)
        _give_up(draft, id, error, cause, tail)
        return
    _back_off(draft, id, cause, tail, restart_times=(*recent, draft.now), restarts=component.restarts + 1)


def _back_off(draft: Draft, id: str, cause: str, tail: tuple[str, ...], **changes: object) -> None:
    component, restart = draft[id], draft.plan.components[id].restart
    # The exponent is bounded so that a streak of thousands cannot overflow a float.
    nominal = min(restart.max_backoff, restart.backoff * 2.0 ** min(component.streak, 60))
    delay = nominal * (1.0 + JITTER * draft.jitter)
    until = draft.now + delay
    draft.enter(id, "backoff", cause, tail=tail, streak=component.streak + 1, until=until, **changes)
    if delay > 0:
        draft.emit(SetTimer(id, component.incarnation, "backoff", until))
    else:
        ignite(draft, id, "restart" if draft[id].proven else "retry")


def _give_up(draft: Draft, id: str, error: str, cause: str, tail: tuple[str, ...]) -> None:
    incarnation = draft[id].incarnation
    if id in draft.plan.repair:
        repair.hand_over(draft, id, error, cause, tail)
    else:
        draft.enter(id, "quarantined", cause, tail=tail)
        draft.emit(Quarantine(id, incarnation, error))


def backoff_ended(draft: Draft, id: str) -> None:
    """The delay is over: ignite again."""
    if draft[id].state == "backoff":
        ignite(draft, id, "restart" if draft[id].proven else "retry")


def stabilised(draft: Draft, id: str) -> None:
    """Healthy for long enough: the next failure starts from the first backoff again."""
    component = draft[id]
    if component.state == "running" and (component.streak or component.attempt or component.trial):
        draft.set(id, streak=0, attempt=0, trial=None)


def grace_ended(draft: Draft, id: str) -> None:
    """Asked long enough: kill."""
    component = draft[id]
    if component.live and component.closing is not None:
        draft.emit(Kill(id, component.incarnation))


def repair_finished(draft: Draft, event: RepairFinished) -> None:
    """A patch was applied: start afresh with it on trial. None was: quarantine."""
    id = event.component
    component = draft[id]
    if component.state != "repairing":
        return
    if event.patched:
        fresh_start(draft, id, "repair")
        draft.set(id, trial=event.patch)
        return
    error = component.error or "failed"
    if event.reason:
        error = f"{error}; not repaired: {event.reason}"
    draft.enter(id, "quarantined", "repair", error=error, awaiting=None)
    draft.emit(Quarantine(id, component.incarnation, error))


def stop(draft: Draft, id: str, closing: str, cause: str) -> None:
    """Stop a component for good (``stop``) or to start it anew (``restart``)."""
    component = draft[id]
    if component.live:
        already = component.closing is not None
        draft.set(id, closing=closing)
        draft.enter(id, "stopping", cause)
        if not already or draft.hurry:
            _ask_to_stop(draft, draft[id])
        return
    draft.cancel_timers(id)
    if closing == "restart":
        fresh_start(draft, id, cause)
    elif component.state != "stopped":
        repair.abandon(draft, id)
        draft.enter(id, "stopped", cause, error=None, until=None)


def _ask_to_stop(draft: Draft, component: ComponentState) -> None:
    """Signal a live incarnation and start its grace period; before it has a pid, wait for that."""
    id, incarnation = component.id, component.incarnation
    draft.emit(StopProbing(id, incarnation), CancelTimer(id, incarnation, "deadline"))
    if component.pid is None:
        return
    how = draft.plan.components[id].stop
    if draft.hurry or how.grace <= 0:
        draft.emit(Kill(id, incarnation))
        return
    draft.emit(
        Signal(id, incarnation, how.signal),
        SetTimer(id, incarnation, "grace", draft.now + how.grace),
    )
