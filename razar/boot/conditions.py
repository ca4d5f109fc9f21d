"""Which components a mission leaves out: the ``when`` expressions, evaluated once before ignition."""

from __future__ import annotations

from collections.abc import Mapping

from razar.config.model import MissionConfig

__all__ = ["ConditionError", "evaluate_conditions"]


class ConditionError(Exception):
    """A ``when`` could not be evaluated or is no boolean; the message names the component."""


def evaluate_conditions(
    config: MissionConfig, environ: Mapping[str, str], capabilities: tuple[str, ...]
) -> dict[str, str]:
    """Return the components whose ``when`` is false, with the reason; raise ConditionError.

    Variables: ``env`` (the environment of RAZAR), ``mission``, ``layer``, ``crown.capabilities``.
    """
    conditional = [component for component in config.components if component.when is not None]
    if not conditional:
        return {}
    from neoabzu_core import CoreError, evaluate_py

    skipped = {}
    for component in conditional:
        assert component.when is not None
        variables: dict[str, object] = {
            "env": dict(environ),
            "mission": config.mission,
            "layer": component.layer,
            "crown": {"capabilities": list(capabilities)},
        }
        try:
            value = evaluate_py(component.when, variables)
        except CoreError as error:
            raise ConditionError(f"{component.id}: `when` ({component.when}) failed: {error}") from None
        if not isinstance(value, bool):
            raise ConditionError(
                f"{component.id}: `when` ({component.when}) is {type(value).__name__}, expected true or false"
            )
        if not value:
            skipped[component.id] = f"its condition is false: {component.when}"
    return skipped
