"""What the environment builder answers with."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["EnvironmentFailure", "LayerEnvironment", "LayerError", "Stale"]


class LayerEnvironment(Struct, frozen=True, kw_only=True):
    """A usable environment of one layer.

    ``python``, ``bin`` and ``folder`` are absolute paths inside a folder that is never changed
    by a later build, so a component may keep using them for as long as it runs. ``digest`` is
    the SHA-256 (hex) of lock, interpreter, platform and local packages. ``outcome`` is
    ``unchanged`` if nothing had to be installed. ``seconds`` is wall time.
    """

    layer: str
    python: str
    bin: str
    folder: str
    digest: str
    outcome: Literal["built", "unchanged"]
    seconds: float
    warnings: tuple[str, ...] = ()


class EnvironmentFailure(Struct, frozen=True, kw_only=True):
    """A layer has no usable environment; ``message`` is one paragraph for people, without secrets."""

    layer: str
    message: str
    seconds: float


class Stale(Struct, frozen=True, kw_only=True):
    """Why a layer's environment cannot be used as it is.

    ``damaged`` is true if somebody or something changed the files after the installation.
    """

    reason: str
    damaged: bool = False


class LayerError(Exception):
    """A layer's environment cannot be made; the text says why and what to do, for people."""
