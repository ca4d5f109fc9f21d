"""Repair as a component sees it: handed over, waiting for approval, on trial, judged.

A patch is on trial from the relaunch until the component has been healthy for a while. Health keeps it;
any failure before the end of the trial undoes it, and the component is handed over again.
"""

from __future__ import annotations

from razar.engine.draft import Draft
from razar.engine.effects import CancelRepair, RequestRepair, SettleRepair
from razar.engine.events import RepairAwaits
from razar.engine.state import ComponentState

__all__ = ["abandon", "awaits", "fail_trial", "hand_over", "hold", "is_parked"]


def hand_over(draft: Draft, id: str, error: str, cause: str, tail: tuple[str, ...]) -> None:
    """Ask for a repair."""
    draft.enter(id, "repairing", cause, tail=tail, awaiting=None)
    draft.emit(RequestRepair(id, draft[id].incarnation, error))


def awaits(draft: Draft, event: RepairAwaits) -> None:
    """The rest of the mission no longer waits for the component: an operator may take days."""
    component = draft[event.component]
    if component.state == "repairing":
        error = f"{component.error or 'failed'}; repair {event.patch} waits for approval"
        draft.enter(component.id, "repairing", "approval", awaiting=event.patch, error=error)


def is_parked(component: ComponentState) -> bool:
    """Whether it stands still until an operator decides."""
    return component.state == "repairing" and component.awaiting is not None


def hold(draft: Draft, component: ComponentState) -> None:
    """It is healthy, or has done its work: its patch may stay."""
    if component.trial is not None and not component.proven:
        draft.emit(SettleRepair(component.id, component.incarnation, component.trial, True))


def fail_trial(draft: Draft, id: str, error: str) -> None:
    """It failed with the patch: undo that."""
    component = draft[id]
    if component.trial is not None:
        draft.emit(SettleRepair(id, component.incarnation, component.trial, False, error))
        draft.set(id, trial=None)


def abandon(draft: Draft, id: str) -> None:
    """It is stopped: nobody will know whether its patch works."""
    component = draft[id]
    if component.state == "repairing":
        draft.emit(CancelRepair(id, component.incarnation))
    if component.trial is not None and not component.proven:
        fail_trial(draft, id, "stopped before the patch had proved itself")
    if component.trial is not None or component.awaiting is not None:
        draft.set(id, trial=None, awaiting=None)
