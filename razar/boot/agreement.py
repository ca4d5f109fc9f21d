"""The agreement with Crown before the first ignition, and the model that Crown lacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from razar.boot.outputs import Outputs
from razar.boot.preparation import PreparationError
from razar.config.model import MissionConfig
from razar.crown.result import Handshake
from razar.engine import events
from razar.engine.events import Event
from razar.engine.plan import Plan

__all__ = ["Agreement"]


class Agreement:
    """Agrees the mission with Crown; ``beside`` has work done beside the boot."""

    def __init__(
        self,
        config: MissionConfig,
        plan: Plan,
        *,
        boot_id: str,
        brief: dict[str, Any] | None,
        logs: str,
        environ: Mapping[str, str],
        outputs: Outputs,
        report: Callable[[Event], None],
        beside: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._config = config
        self._plan = plan
        self._boot_id = boot_id
        self._brief = brief
        self._logs = logs
        self._environ = environ
        self._out = outputs
        self._report = report
        self._beside = beside

    async def reach(self, lifetime: AsyncExitStack) -> Handshake:
        """Shake hands; an embedded Crown lives as long as ``lifetime``. Raises PreparationError."""
        if self._config.crown.policy == "off":
            handshake = Handshake(status="offline", reason="the policy for Crown is off")
            self._report(events.HandshakeCompleted(handshake.to_state()))
            return handshake
        handshake = await self._shake_hands(lifetime)
        for warning in handshake.warnings:
            self._out.say("WARN", f"Crown: {warning}")
        if handshake.accepted:
            self._out.say("INFO", f"Crown {handshake.crown_version} agreed to mission {self._config.mission}")
        elif self._config.crown.policy == "required":
            raise PreparationError(3, f"Crown {handshake.status}: {handshake.reason}")
        else:
            self._out.say(
                "WARN", f"Crown {handshake.status}: {handshake.reason}; going on, as it is optional"
            )
        self._launch_model_if_missing(handshake)
        return handshake

    async def _shake_hands(self, lifetime: AsyncExitStack) -> Handshake:
        from razar import crown_handshake
        from razar.crown.briefs import make_brief

        brief = self._brief
        if brief is None:
            brief = make_brief(self._plan.order, self._out.previous, self._out.open_issues())
        began = time.monotonic()
        span = self._out.trace.child("razar.handshake")
        handshake = await crown_handshake.agree(
            self._config.crown,
            brief,
            mission=self._config.mission,
            boot_id=self._boot_id,
            logs=self._logs,
            components=self._plan.order,
            token=self._environ.get("CROWN_TOKEN") or None,
            environ=self._environ,
            lifetime=lifetime,
            traceparent=span.traceparent(),
        )
        span.set("razar.outcome", handshake.status)
        span.end()
        self._report(events.HandshakeCompleted(handshake.to_state(), time.monotonic() - began))
        self._out.handshake(handshake.status, handshake.reason)
        return handshake

    def _launch_model_if_missing(self, handshake: Handshake) -> None:
        from razar.crown_handshake import has_capability

        model = self._config.crown.required_model
        if model is not None and not has_capability(handshake.capabilities, model):
            self._beside(self._launch_model(model))

    async def _launch_model(self, model: str) -> None:
        from razar.boot.component_environment import inherited
        from razar.crown.model_launcher import launch_model

        result = await launch_model(
            self._config.crown,
            model=model,
            root=self._config.root,
            logs=self._logs,
            environ=inherited(self._environ),
        )
        self._report(events.ModelLaunched(result))
        self._out.model_launched(result)
