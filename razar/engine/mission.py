"""The whole mission: one event in, the next state with its effects and facts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from razar.engine import events, lifecycle, repair
from razar.engine.draft import Draft, Step
from razar.engine.effects import Kill, SetTimer
from razar.engine.facts import MissionSettled, MissionStopped
from razar.engine.plan import Plan
from razar.engine.state import FAILING, SETTLED, ComponentState, MissionState

__all__ = ["anything_left", "initial", "step", "verdict"]

_TIMERS: dict[str, Callable[[Draft, str], None]] = {
    "deadline": lifecycle.deadline_passed,
    "grace": lifecycle.grace_ended,
    "backoff": lifecycle.backoff_ended,
    "stable": lifecycle.stabilised,
}
_LIFECYCLE: dict[type, Callable[[Draft, Any], None]] = {
    events.Spawned: lifecycle.spawned,
    events.LaunchFailed: lifecycle.launch_failed,
    events.ProbePassed: lifecycle.probe_passed,
    events.ProbeFailed: lifecycle.probe_failed,
    events.Exited: lifecycle.exited,
    events.RepairAwaits: repair.awaits,
    events.RepairFinished: lifecycle.repair_finished,
}


def initial(plan: Plan) -> MissionState:
    """Before anything has happened."""
    return MissionState(
        mission=plan.mission,
        components={id: ComponentState(id=id, layer=plan.components[id].layer) for id in plan.order},
    )


def step(plan: Plan, state: MissionState, event: events.Event, now: float, jitter: float = 0.0) -> Step:
    """Take one event. ``now`` is epoch seconds, ``jitter`` a number in [0, 1) drawn by the caller."""
    draft = Draft(plan, state, now, jitter)
    incarnation = getattr(event, "incarnation", None)
    if incarnation is not None:
        component = state.components.get(event.component)  # type: ignore[union-attr]
        if component is None or component.incarnation != incarnation:
            return Step(state, (), ())
    handler = _LIFECYCLE.get(type(event))
    if handler is not None:
        handler(draft, event)
    else:
        _mission_event(draft, event)
    _advance(draft)
    return draft.finish()


def _mission_event(draft: Draft, event: events.Event) -> None:
    before = draft.before
    match event:
        case events.TimerFired(timer="held"):
            if draft[event.component].hold is not None and draft.phase != "stopping":
                lifecycle.fresh_start(draft, event.component, "hold")
        case events.TimerFired():
            _TIMERS[event.timer](draft, event.component)
        case events.BootStarted():
            draft.mission(boot_id=event.boot_id, began=draft.now)
        case events.EnvironmentPrepared():
            draft.mission(environments=before.environments | {event.layer: event.outcome})
        case events.HandshakeCompleted():
            draft.mission(handshake=event.result)
        case events.ModelLaunched():
            draft.mission(model_launches=(*before.model_launches, event.result))
        case events.MemoryInitialised():
            draft.mission(memory={"layers": event.layers})
        case events.CoreEvaluated():
            draft.mission(core=event.result)
        case events.IgnitionBegan():
            _begin(draft, event)
        case events.OperatorStopped() if event.component in before.components:
            if draft[event.component].state not in ("completed", "skipped"):
                lifecycle.stop(draft, event.component, "stop", "operator")
        case events.OperatorRestarted() | events.OperatorReleased() if event.component in before.components:
            _start_anew(draft, event)
        case events.ShutdownRequested():
            _shut_down(draft, event)
        case _:
            pass


def _begin(draft: Draft, event: events.IgnitionBegan) -> None:
    if draft.phase != "preparing":
        return
    draft.mission(phase="igniting", cursor=0)
    for id in draft.plan.order:
        if id in event.skipped:
            draft.enter(id, "skipped", "boot", error=event.skipped[id])
        elif id in event.quarantined:
            draft.enter(id, "quarantined", "boot", error=event.quarantined[id])
        elif id in event.held:
            reason, until = event.held[id]
            draft.enter(id, "held", "hold", error=reason, hold=reason, until=until)
            if until is not None:
                draft.emit(SetTimer(id, draft[id].incarnation, "held", until))
    draft.reconsider.extend(draft.plan.order)


def _start_anew(draft: Draft, event: events.OperatorRestarted | events.OperatorReleased) -> None:
    if draft.phase not in ("igniting", "settled"):
        return
    released = isinstance(event, events.OperatorReleased)
    if released and draft[event.component].state != "quarantined":
        return
    if draft[event.component].state != "skipped":
        lifecycle.stop(draft, event.component, "restart", "operator")


def _shut_down(draft: Draft, event: events.ShutdownRequested) -> None:
    if draft.phase == "stopped":
        return
    if draft.phase == "stopping":
        if event.hurry and not draft.hurry:
            draft.mission(hurry=True)
            for id in draft.plan.order:
                component = draft[id]
                if component.live and component.closing is not None and component.pid is not None:
                    draft.emit(Kill(id, component.incarnation))
        return
    reason = verdict(draft.plan, draft.before) if draft.phase == "settled" else None
    changes: dict[str, Any] = {"phase": "stopping", "cursor": 0, "hurry": event.hurry}
    if draft.phase == "settled":
        changes |= {"outcome": "failed" if reason else "complete", "reason": reason}
    else:
        changes |= {"outcome": "failed", "reason": event.reason}
    draft.mission(**changes)
    for id in draft.plan.order:
        if draft[id].state in ("pending", "held", "backoff", "repairing"):
            lifecycle.stop(draft, id, "stop", "shutdown")


def _advance(draft: Draft) -> None:
    """Let the consequences of what changed run their course."""
    if draft.phase == "stopping":
        _stop_next(draft)
        return
    if draft.phase not in ("igniting", "settled"):
        return
    for id in draft.reconsider:  # It grows meanwhile: what changes makes others change.
        if draft[id].state in ("pending", "blocked", "held") and draft[id].hold is None:
            _resolve(draft, id)
    if draft.phase == "igniting":
        if not draft.plan.parallel:
            _ignite_next(draft)
        _settle(draft)


def _resolve(draft: Draft, id: str) -> None:
    """Block, hold or free a waiting component according to what it depends on."""
    component = draft[id]
    wanted, why = _look_at_dependencies(draft, id)
    if wanted == "ready":
        if draft.plan.parallel or draft.phase == "settled":
            lifecycle.ignite(draft, id, "boot")
        elif component.state != "pending":
            draft.enter(id, "pending", "dependency", error=None)
            draft.mission(cursor=min(draft.cursor, draft.plan.position[id]))
    elif wanted == "wait":
        if component.state != "pending":
            draft.enter(id, "pending", "dependency", error=None)
            draft.mission(cursor=min(draft.cursor, draft.plan.position[id]))
    elif wanted == "blocked" and component.state != "blocked":
        draft.enter(id, "blocked", "dependency", error=why)
    elif wanted == "held" and component.state != "held":
        draft.enter(id, "held", "dependency", error=why)


def _look_at_dependencies(draft: Draft, id: str) -> tuple[str, str]:
    result, why = "ready", ""
    for dependency in draft.plan.components[id].depends_on:
        other = draft[dependency.id]
        if other.state in FAILING:
            return "blocked", f"{other.id}, which it depends on, is {other.state}"
        if repair.is_parked(other):
            return "blocked", f"{other.id}, which it depends on, waits for the approval of a repair"
        if other.state == "held":
            result, why = "held", f"{other.id}, which it depends on, is held"
        elif result == "ready" and not _satisfied(other, dependency.condition):
            result = "wait"
    return result, why


def _satisfied(other: ComponentState, condition: str) -> bool:
    if other.state in ("skipped", "completed"):
        return True
    if condition == "healthy":
        return other.state == "running"
    if condition == "started":
        return other.pid is not None and other.closing is None
    return False


def _ignite_next(draft: Draft) -> None:
    """In sequence: the next component starts when the one whose turn it is, is settled."""
    if draft.turn is not None and draft[draft.turn].state in ("igniting", "backoff", "stopping"):
        return
    order, cursor = draft.plan.order, draft.cursor
    first_open = None
    for index in range(cursor, len(order)):
        id = order[index]
        if _settled(draft[id]):
            continue
        if first_open is None:
            first_open = index
        # One that waits for a repair, or for something that does, lets the others pass.
        if draft[id].state == "pending" and _look_at_dependencies(draft, id)[0] == "ready":
            draft.mission(turn=id)
            lifecycle.ignite(draft, id, "boot")
            break
    advanced = len(order) if first_open is None else first_open
    if advanced != cursor:
        draft.mission(cursor=advanced)


def _settle(draft: Draft) -> None:
    """The boot ends when no component is left to wait for."""
    order, cursor = draft.plan.order, draft.cursor
    for index in range(cursor, len(order)):
        if not _settled(draft[order[index]]):
            if draft.plan.parallel and index != cursor:
                draft.mission(cursor=index)
            return
    for index in range(cursor):
        if not _settled(draft[order[index]]):
            draft.mission(cursor=index)
            return
    reason = _failing(draft.plan, draft.__getitem__)
    outcome = "failed" if reason else "complete"
    draft.mission(phase="settled", outcome=outcome, reason=reason, settled_at=draft.now, cursor=0)
    seconds = max(0.0, draft.now - draft.before.began)
    draft.facts.append(
        MissionSettled(
            outcome="failed" if reason else "complete", reason=reason, at=draft.now, seconds=seconds
        )
    )


def _settled(component: ComponentState) -> bool:
    """Whether the boot no longer waits for it; an unhealthy one counts unless it is being restarted."""
    return (
        component.state in SETTLED
        or (component.state == "unhealthy" and component.closing is None)
        or repair.is_parked(component)
    )


def _stop_next(draft: Draft) -> None:
    """Stop in reverse order: a component only when nothing that depends on it is left."""
    alive = False
    for id in reversed(draft.plan.order):
        component = draft[id]
        if not component.live:
            continue
        alive = True
        if component.closing != "stop" and not _needed(draft, id):
            lifecycle.stop(draft, id, "stop", "shutdown")
        if not draft.plan.parallel:
            break
    if not alive:
        draft.mission(phase="stopped")
        draft.facts.append(MissionStopped(at=draft.now, reason=draft.before.reason or ""))


def _needed(draft: Draft, id: str) -> bool:
    return draft.plan.parallel and any(draft[other].live for other in draft.plan.dependents[id])


def verdict(plan: Plan, state: MissionState) -> str | None:
    """Why the mission as it is now counts as failed; None if every required component is up."""
    return _failing(plan, state.components.__getitem__)


def _failing(plan: Plan, component: Callable[[str], ComponentState]) -> str | None:
    reasons = [
        f"{id} is {component(id).state}" + (f" ({component(id).error})" if component(id).error else "")
        for id in plan.order
        if plan.components[id].criticality == "required"
        and (
            component(id).state in FAILING
            or component(id).state == "unhealthy"
            or repair.is_parked(component(id))
        )
    ]
    return "; ".join(reasons) or None


def anything_left(state: MissionState) -> bool:
    """Whether a settled mission still has something to supervise, repair or wait for.

    A component that an operator stopped counts: the next thing asked for may be its restart.
    """
    return any(
        component.live
        or component.state in ("backoff", "repairing", "pending", "stopped")
        or (component.state == "held" and component.until is not None)
        for component in state.components.values()
    )
