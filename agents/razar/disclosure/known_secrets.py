"""Has every secret that RAZAR holds masked wherever it writes or sends: its own, and the components'."""

from __future__ import annotations

from collections.abc import Mapping

from razar.config.model import MissionConfig
from razar.utils import redaction

__all__ = ["learn_secrets"]


def learn_secrets(config: MissionConfig, environ: Mapping[str, str]) -> None:
    """Learn the values from the environment, and from each component's ``env`` and ``env_file``."""
    redaction.learn(environ)
    for component in config.components:
        if component.env:
            redaction.learn(component.env)
