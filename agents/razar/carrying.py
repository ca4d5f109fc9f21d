"""Carries a proposal into the tree of a mission, under the rules that its configuration sets."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

from msgspec.structs import replace

from agents.razar.code_repair import RepairOutcome, repair_module
from agents.razar.disclosure.sources import learn_from
from agents.razar.patching.policy import PatchPolicy
from agents.razar.patching.sandbox import CommandLimits
from agents.razar.proposals.proposal import Proposal
from razar.config.model import Component, MissionConfig, RepairScope
from razar.utils.redaction import MASK

__all__ = ["carry", "masked_places", "policy_of", "scope_of"]


def scope_of(component: Component, *, probe: bool) -> RepairScope:
    """What may be changed, and how a patch is proven.

    Where no relaunch and probe will judge it (``probe`` False), only tests can; without tests a
    patch is never applied by itself.
    """
    scope = component.repair or RepairScope()
    if not probe and not scope.tests and scope.approval == "auto":
        return replace(scope, approval="ask")
    return scope


def policy_of(config: MissionConfig, component: Component) -> PatchPolicy:
    """What no patch of a component may touch: the mission's own files and what its probes run."""
    protected = {
        os.path.relpath(config.path, config.root),
        "razar_env.yaml",
        "razar_env.lock/**",
        "missions/**",
    }
    commands = tuple(other.probe.argv for other in config.components if other.probe.argv)
    path = ""
    if component.probe.kind in ("http", "ws"):
        path = urlsplit(component.probe.target).path
    return PatchPolicy(
        protected=tuple(sorted(protected)), commands=commands, health_paths=(path,) if len(path) > 1 else ()
    )


async def carry(
    proposal: Proposal,
    component: Component,
    config: MissionConfig,
    *,
    logs: str,
    probe: bool,
    number: int,
    agent: str,
    seen: dict[str, str] | None,
    interpreter: str | None,
    limits: CommandLimits | None = None,
) -> RepairOutcome:
    """Every check, then the swap if all of them and the approval allow it."""
    # Pieces of these files get into the diff and into what the tests print.
    await asyncio.to_thread(learn_from, config.root, [edit.path for edit in proposal.edits])
    return await repair_module(
        component.id,
        proposal,
        root=config.root,
        scope=scope_of(component, probe=probe),
        logs=logs,
        policy=policy_of(config, component),
        attempt=number,
        agent=agent,
        seen=seen,
        interpreter=interpreter,
        limits=limits,
    )


def masked_places(proposal: Proposal, incomplete: frozenset[str]) -> str | None:
    """Say why a proposal would write a mask, or lose what its agent was not shown; None if it would not."""
    for edit in proposal.edits:
        if edit.path not in incomplete:
            continue
        if edit.content is not None:
            return (
                f"{edit.path!a} was shown with parts hidden or cut off, so it cannot be replaced as a whole"
            )
        if MASK in (edit.old or "") or MASK in (edit.new or ""):
            return f"the edit of {edit.path!a} touches a place that was masked"
    return None
