"""One attempt of one probe, as the prober makes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from razar.config.model import Probe
from razar.health_checks import Prober
from razar.probes.base import ProbeError
from razar.probes.expectation import Expectation
from tests.support.components import probe_target

__all__ = ["attempt", "refusal", "unused_evaluate"]


def unused_evaluate(expression: str, variables: dict[str, Any]) -> object:
    raise AssertionError(f"{expression} should not have been evaluated")


async def attempt(probe: Probe, folder: Path = Path("/"), **changes: Any) -> str | None:
    """Probe once; return why it failed, None if it passed."""
    evaluate = changes.pop("evaluate", unused_evaluate)
    from razar.health_checks import _CHECKS, _Probing

    module, name = _CHECKS[probe.kind]
    from importlib import import_module

    target = probe_target(probe, folder, **changes)
    try:
        check = getattr(import_module(f"razar.probes.{module}"), name)(target)
    except ProbeError as error:
        return str(error)
    expectation = Expectation(probe.expect, evaluate) if probe.expect is not None else None
    prober = Prober(lambda event: None, evaluate=evaluate)
    return await prober._attempt(_Probing(target, check, expectation))


async def refusal(probe: Probe, folder: Path = Path("/"), **changes: Any) -> str:
    """Probe once; return why it failed, which it must."""
    error = await asyncio.wait_for(attempt(probe, folder, **changes), 10)
    assert error is not None, "it passed"
    return error
