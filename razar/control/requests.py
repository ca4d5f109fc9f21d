"""Carries out what clients ask of a running mission, and knows when that counts as done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from razar import __version__
from razar.control.messages import Mission, Progress, Refusal, Repairs, Request
from razar.engine import events
from razar.engine.mission import verdict
from razar.engine.state import ComponentState
from razar.state import render

__all__ = ["Requests"]

#: Seconds between two looks at who is waited for, and between two words to the client if nothing changes.
TICK = 1.0
HEARTBEAT = 15.0
#: Longest time a client may ask to wait, in seconds, and what it gets if it does not say.
LONGEST_WAIT = 24 * 3600.0
#: Components whose processes are named at once.
NAMED = 5


class Requests:
    """Carries out requests, one call each; any number of them at the same time."""

    def __init__(
        self,
        mission: Mission,
        *,
        holders: Callable[[str], list[str]],
        on_stop: Callable[[], None],
        release: Callable[[str, str], bool],
        repairs: Repairs | None = None,
    ) -> None:
        self._repairs = repairs
        self._mission = mission
        self._holders = holders
        self._on_stop = on_stop
        self._release = release

    async def carry_out(self, request: Request, progress: Progress) -> dict[str, Any]:
        """Do it, wait until it is done, return the result. Raises Refusal."""
        match request.request:
            case "ping":
                return {"mission": self._mission.plan.mission, "pid": os.getpid(), "version": __version__}
            case "status":
                return self._status(request)
            case "stop" if request.components is None:
                return await self._stop_mission(request, progress)
        if request.patch is not None:
            return await self._decide(request, request.patch, progress)
        if request.request == "stop":
            return await self._stop(self._known(request), request, progress)
        return await self._start_anew(self._known(request), request, progress)

    def _status(self, request: Request) -> dict[str, Any]:
        mission, state = self._mission, self._mission.state
        ids = mission.plan.order if request.components is None else self._known(request)
        quarantine = [id for id in mission.plan.order if state.components[id].state == "quarantined"]
        snapshot = render(state, ids, (), quarantine)
        supervisor = {
            "pid": os.getpid(),
            "version": __version__,
            "phase": state.phase,
            "began": state.began or None,
            "outcome": state.outcome,
            "reason": state.reason,
            "failing": verdict(mission.plan, state) if state.phase in ("igniting", "settled") else None,
            "optional": [
                id for id in mission.plan.order if mission.plan.components[id].criticality == "optional"
            ],
        }
        return {"supervisor": supervisor, "snapshot": snapshot}

    def _known(self, request: Request) -> list[str]:
        """The ids asked for, in the plan's order; raise Refusal if one does not exist."""
        asked, position = request.components or [], self._mission.plan.position
        unknown = [id for id in dict.fromkeys(asked) if id not in position]
        if unknown:
            raise _unknown(unknown, self._mission.plan.order)
        return sorted(set(asked), key=position.__getitem__)

    async def _stop_mission(self, request: Request, progress: Progress) -> dict[str, Any]:
        mission = self._mission
        self._on_stop()
        if request.hurry:
            mission.report(events.ShutdownRequested("an operator is in a hurry", hurry=True))

        def still_there() -> list[str]:
            if mission.stopped.done():
                return []
            return [id for id in reversed(mission.plan.order) if mission.state.components[id].live]

        await self._wait(mission.stopped.done, still_there, request.timeout, progress)
        if not mission.stopped.done():
            waiting = self._describe(still_there())
            raise Refusal("not_reached", "the mission has not stopped in time", waiting=waiting)
        state = mission.state
        return {"mission": state.mission, "outcome": state.outcome, "reason": state.reason}

    async def _stop(self, ids: Sequence[str], request: Request, progress: Progress) -> dict[str, Any]:
        plan, asked = self._mission.plan, set[str]()

        def ask(*, at_once: bool = False) -> None:
            """Ask each one to stop once nothing that was to stop and depends on it is left."""
            for id in reversed(ids):
                dependents = [other for other in plan.dependents[id] if other in ids]
                if id in asked or (not at_once and any(self._component(other).live for other in dependents)):
                    continue
                asked.add(id)
                if self._component(id).state != "quarantined":
                    self._mission.report(events.OperatorStopped(id))

        def judge(component: ComponentState) -> tuple[bool, str | None] | None:
            if component.id not in asked:
                return None
            if component.live:
                again = component.closing != "stop"
                return (False, "another request started it again") if again else None
            if component.state in ("stopped", "completed", "skipped", "quarantined"):
                return True, None
            return False, "another request started it again"

        try:
            return await self._settle(ids, judge, request, progress, ask)
        finally:
            # A client that has left, or waits no longer, does not leave half of it undone.
            if self._mission.state.phase not in ("stopping", "stopped"):
                ask(at_once=True)

    async def _start_anew(self, ids: Sequence[str], request: Request, progress: Progress) -> dict[str, Any]:
        released = request.request == "release"
        # One that is in the record alone, since the disk refused its release, has nothing to be started for.
        recorded = [id for id in ids if released and self._component(id).state != "quarantined"]
        ids = [id for id in ids if id not in recorded]
        self._check_startable(ids)
        for id in recorded:
            if not self._record_release(id, request.note):
                raise Refusal(
                    "unavailable",
                    f"{id} is not in quarantine, it is {self._component(id).state}; nothing was done",
                )
        before = {id: self._component(id).incarnation for id in ids}
        for id in reversed(ids):
            if self._component(id).state == "quarantined":
                note = request.note or (None if released else "restarted by the operator")
                self._record_release(id, note)
            if released:
                self._mission.report(events.OperatorReleased(id))
            else:
                self._mission.report(events.OperatorRestarted(id))

        def judge(component: ComponentState) -> tuple[bool, str | None] | None:
            if component.incarnation > before[component.id] and component.state in ("running", "completed"):
                return True, None
            if component.state in ("quarantined", "failed", "blocked", "held", "stopped"):
                return False, component.error or f"it is {component.state}"
            if self._mission.state.phase in ("stopping", "stopped"):
                return False, "the mission is being stopped"
            return None

        result = await self._settle(ids, judge, request, progress)
        result["components"] += [self._result(id, True, None) for id in recorded]
        return result

    async def _decide(self, request: Request, patch: str, progress: Progress) -> dict[str, Any]:
        """What an operator says of a repair; an approved one is waited for until it has shown itself."""
        repairs, phase = self._repairs, self._mission.state.phase
        if repairs is None or phase not in ("igniting", "settled"):
            raise Refusal("unavailable", "the mission is about to begin or to end; nothing was done")
        reason = request.note or f"{request.request} by the operator"
        try:
            match request.request:
                case "approve":
                    component, relaunched = await repairs.approve(patch)
                    if not relaunched or component not in self._mission.state.components:
                        return {"patch": patch, "component": component, "components": []}
                    try:
                        result = await self._settle([component], self._judge_trial(patch), request, progress)
                    finally:
                        await repairs.finish(component)
                    return {"patch": patch, "component": component, **result}
                case "reject":
                    return {
                        "patch": patch,
                        "component": await repairs.reject(patch, reason),
                        "components": [],
                    }
            component, foreign = await repairs.rollback(patch, reason)
        except _refused() as fault:
            raise Refusal("unavailable", str(fault)) from None
        except OSError as fault:
            raise Refusal("unavailable", f"the machine refused: {fault.strerror or fault}") from None
        result = {"patch": patch, "component": component, "foreign": list(foreign), "components": []}
        if component in self._mission.state.components and self._component(component).live:
            result |= await self._start_anew([component], request, progress)
        return result

    def _judge_trial(self, patch: str) -> Callable[[ComponentState], tuple[bool, str | None] | None]:
        def judge(component: ComponentState) -> tuple[bool, str | None] | None:
            if component.state in ("running", "completed"):
                return True, None
            if component.trial == patch and component.state in ("pending", "igniting"):
                return None
            return False, component.error or f"it is {component.state}"

        return judge

    def _check_startable(self, ids: Sequence[str]) -> None:
        """Raise Refusal, before anything is done, if the engine would not start one of them."""
        phase = self._mission.state.phase
        if phase not in ("igniting", "settled"):
            what = "has not begun to ignite its components" if phase == "preparing" else "is being stopped"
            raise Refusal("unavailable", f"the mission {what}; nothing was done")
        for id in ids:
            component = self._component(id)
            if component.state == "skipped":
                raise Refusal("unavailable", f"{id} is skipped: {component.error}; nothing was done")

    def _record_release(self, id: str, note: str | None) -> bool:
        """Take it out of the record of the quarantine; False if it is not in there."""
        try:
            return self._release(id, note or "released by the operator")
        except OSError as fault:
            raise Refusal("unavailable", f"the release of {id} cannot be recorded: {fault}") from None

    async def _settle(
        self,
        ids: Sequence[str],
        judge: Callable[[ComponentState], tuple[bool, str | None] | None],
        request: Request,
        progress: Progress,
        before_each_look: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Wait until every component is judged; what was judged once is not judged again."""
        verdicts: dict[str, tuple[bool, str | None]] = {}

        def done() -> bool:
            before_each_look()
            for id in ids:
                if id not in verdicts and (found := judge(self._component(id))) is not None:
                    verdicts[id] = found
            return len(verdicts) == len(ids)

        def waiting() -> list[str]:
            return [id for id in ids if id not in verdicts]

        await self._wait(done, waiting, request.timeout, progress)
        results = []
        for id in ids:
            reached, why = verdicts.get(id, (False, f"it is still {self._component(id).state}"))
            results.append(self._result(id, reached, why))
        missed = [f"{result['id']}: {result['error']}" for result in results if not result["reached"]]
        if missed:
            late = self._describe(waiting())
            raise Refusal("not_reached", "; ".join(missed), components=results, waiting=late)
        return {"components": results}

    def _result(self, id: str, reached: bool, why: str | None) -> dict[str, Any]:
        component = self._component(id)
        return {"id": id, "state": component.state, "pid": component.pid, "reached": reached, "error": why}

    async def _wait(
        self,
        done: Callable[[], bool],
        waiting: Callable[[], list[str]],
        timeout: float | None,
        progress: Progress,
    ) -> None:
        """Wait for ``done``, telling the client who is waited for whenever that changes."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        until = loop.time() + min(LONGEST_WAIT if timeout is None else timeout, LONGEST_WAIT)
        unfollow = self._mission.follow(lambda fact, state: changed.set())
        told: tuple[float, list[dict[str, Any]]] = (loop.time(), [])
        look = loop.time() + TICK
        try:
            while not done() and (now := loop.time()) < until:
                if now >= look:
                    look = now + TICK
                    news = self._describe(waiting())
                    if news != told[1] or now > told[0] + HEARTBEAT:
                        told = (now, news)
                        await progress({"waiting": news})
                changed.clear()
                try:
                    async with asyncio.timeout_at(min(look, until)):
                        await changed.wait()
                except TimeoutError:
                    pass
        finally:
            unfollow()

    def _describe(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {
                "id": id,
                "state": self._component(id).state,
                "error": self._component(id).error,
                "holders": self._holders(id) if index < NAMED and self._component(id).live else [],
            }
            for index, id in enumerate(ids)
        ]

    def _component(self, id: str) -> ComponentState:
        return self._mission.state.components[id]


def _refused() -> type[Exception]:
    # Named when it is needed: a mission without repairs never loads what repairs are made of.
    from agents.razar.patching.refusal import Refusal as PatchRefusal

    return PatchRefusal


def _unknown(unknown: Sequence[str], known: Sequence[str]) -> Refusal:
    from difflib import get_close_matches

    nearest = {id[:100]: get_close_matches(id[:100], known, n=3) for id in unknown}
    words = [
        f"there is no component {id!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
        for id, near in nearest.items()
    ]
    if not any(nearest.values()):
        words.append(f"the mission has {', '.join(known[:20])}{' …' if len(known) > 20 else ''}")
    return Refusal("unknown_component", "; ".join(words), nearest=nearest)
