"""Whether a layer's environment can be used as it is, without starting anything."""

from __future__ import annotations

import os
import time

import msgspec
from msgspec import Struct

from razar.config.model import EnvironmentSpec
from razar.environments import layout
from razar.environments.machine import is_same, platform_tag
from razar.environments.model import LayerEnvironment, Stale
from razar.environments.sources import Source, look
from razar.environments.stamp import (
    Stamp,
    added,
    asked,
    fingerprint,
    read_stamp,
    refreshed,
    suspects,
    write_stamp,
)

__all__ = ["Candidate", "check", "environment", "examine", "intact", "settle"]


class Candidate(Struct, frozen=True):
    """An environment that is as asked for, and the files that must be read before it is trusted.

    ``sources`` are the local packages with today's change times.
    """

    folder: str
    stamp: Stamp
    suspects: list[tuple[str, str]]
    sources: list[Source]


def environment(
    spec: EnvironmentSpec,
    folder: str,
    digest: str,
    started: float,
    *,
    built: bool,
    warnings: tuple[str, ...] = (),
) -> LayerEnvironment:
    """Describe a usable environment."""
    binaries = os.path.join(folder, "bin")
    return LayerEnvironment(
        layer=spec.layer,
        python=os.path.join(binaries, "python"),
        bin=binaries,
        folder=folder,
        digest=digest,
        outcome="built" if built else "unchanged",
        seconds=time.perf_counter() - started,
        warnings=warnings,
    )


def examine(spec: EnvironmentSpec, root: str) -> Candidate | Stale:
    """Compare what is asked for with what was installed, by text, size and change time."""
    folder = layout.current(root, spec.layer)
    stamp = read_stamp(folder) if folder else None
    if folder is None or stamp is None:
        return Stale(reason="there is no environment yet")
    if stamp.asked != asked(spec):
        return Stale(reason="its entry in razar_env.yaml has changed")
    if stamp.lock != layout.read_lock(root, spec.layer):
        return Stale(reason="its lock file has changed")
    if stamp.platform != platform_tag():
        return Stale(reason=f"it was built for {stamp.platform}, this machine is {platform_tag()}")
    if not is_same(stamp.interpreter):
        return Stale(reason=f"the interpreter {stamp.interpreter.path} has changed")
    sources = []
    for source in stamp.sources:
        now = look(source)
        if isinstance(now, str):
            return Stale(reason=f"the local package {source.portable} has changed: {now}")
        sources.append(now)
    if name := added(folder, stamp):
        return Stale(reason=f"{name} was added after the installation", damaged=True)
    return Candidate(folder, stamp, suspects(folder, stamp), sources)


def intact(folder: str, stamp: Stamp) -> Stale | None:
    """Read every file of an environment; say which one is not what was installed."""
    everything = [
        (os.path.join(folder, part.path, name), mark)
        for part in stamp.folders
        for name, mark in zip(part.names, part.fingerprints, strict=True)
    ]
    return _compare(everything)


def _compare(files: list[tuple[str, str]]) -> Stale | None:
    for path, expected in files:
        try:
            found = fingerprint(path)
        except FileNotFoundError:
            return Stale(reason=f"{path} is missing", damaged=True)
        except OSError as error:
            return Stale(reason=f"{path} cannot be read ({error.strerror})", damaged=True)
        if found != expected:
            what = (
                "can no longer be executed"
                if found[1:] == expected[1:]
                else "was changed after the installation"
            )
            return Stale(reason=f"{path} {what}", damaged=True)
    return None


def settle(candidate: Candidate, *, everything: bool = False) -> Stale | None:
    """Read the suspects (or every file); where only a time has moved, remember the new one."""
    folder, stamp = candidate.folder, candidate.stamp
    damage = intact(folder, stamp) if everything else _compare(candidate.suspects)
    if damage is not None:
        return damage
    if candidate.suspects or any(
        new is not old for new, old in zip(candidate.sources, stamp.sources, strict=True)
    ):
        try:
            write_stamp(folder, refreshed(folder, msgspec.structs.replace(stamp, sources=candidate.sources)))
        except OSError:
            return None  # The environment is good; on a read-only disk it is read again next time.
    return None


def check(spec: EnvironmentSpec, root: str, *, verify: bool = False) -> LayerEnvironment | Stale:
    """Return the layer's environment if it can be used as it is, else why not."""
    started = time.perf_counter()
    found = examine(spec, root)
    if isinstance(found, Stale):
        return found
    return settle(found, everything=verify) or environment(
        spec, found.folder, found.stamp.digest, started, built=False
    )
