"""Carries out the fixes that are safe and can be undone: a missing package goes into razar_env.yaml.

Logs hold text that strangers can write. So only packages are added whose name comes from our
own table or is in razar_env.yaml already, never one that only the log knows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from razar.issue_analyzer import Finding
from razar.issues.environment_edit import EditError, add_dependency, layers
from razar.issues.package_names import is_known, normalise
from razar.utils import files
from razar.utils.redaction import one_line
from razar.utils.times import file_stamp

__all__ = ["SIZE_LIMIT", "addition", "apply"]

ENVIRONMENTS = "razar_env.yaml"
#: Bytes beyond which a file of the mission is not read.
SIZE_LIMIT = 1_000_000
#: How many folders above the log the mission is looked for.
_REACH = 6


class _Component(Struct):
    id: str
    layer: str


class _Mission(Struct):
    components: list[_Component]


def apply(
    logfile: str, findings: Iterable[Finding], say: Callable[[str], None] | None
) -> list[dict[str, Any]]:
    """Apply what can be; return one outcome per missing package: what was done, or why it was not.

    ``say`` gets the diff before the file is written, and the outcomes. Never raises for the disk.
    """
    outcomes = []
    root = _mission_folder(logfile)
    for finding in findings:
        package = finding.issue.package
        if finding.issue.name != "dependency" or package is None:
            continue
        outcome: dict[str, Any] = {"package": package, "component": finding.component, "applied": False}
        try:
            outcome |= _add(root, finding.component, package, say)
        except (EditError, OSError) as fault:
            outcome["reason"] = files.why(fault) if isinstance(fault, OSError) else str(fault)
        if say is not None:
            done = (
                f"added to layer {outcome['layer']}; backup: {outcome['backup']}"
                if outcome["applied"]
                else None
            )
            say(f"{package}: {done or 'not added: ' + one_line(outcome['reason'])}")
        outcomes.append(outcome)
    return outcomes


def _add(
    root: str | None, component: str | None, package: str, say: Callable[[str], None] | None
) -> dict[str, Any]:
    if root is None:
        raise EditError(f"no {ENVIRONMENTS} was found in the folders above the log, nor here")
    path = os.path.realpath(os.path.join(root, ENVIRONMENTS))
    data = files.read_limited(path, SIZE_LIMIT)
    if data is None:
        raise EditError(f"{path} is longer than {SIZE_LIMIT} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise EditError(f"{path} is not UTF-8") from None
    layer = _layer_of(root, component, list(layers(text)))
    changed = addition(text, layer, package)
    diff = _diff(text, changed)
    if say is not None:
        say(one_line(f"{path}:"))
        say(diff)
    backup = _backup(path, data)
    files.replace(path, changed.encode("utf-8"), mode=None)
    return {"applied": True, "layer": layer, "file": path, "backup": backup, "diff": diff}


def addition(text: str, layer: str, package: str) -> str:
    """The text of a razar_env.yaml with one more dependency. Raises EditError if that is not safe."""
    listed = {normalise(name) for names in layers(text).values() for name in names}
    if not is_known(package) and normalise(package) not in listed:
        raise EditError(
            "no table knows it, and a log can be made to say anything; if the name is right, add it by hand"
        )
    return add_dependency(text, layer, package)


def _layer_of(root: str, component: str | None, known: list[str]) -> str:
    if component is None:
        if len(known) == 1:
            return known[0]
        raise EditError("the log does not say which component it was, so its layer is not known")
    import glob

    for path in [
        os.path.join(root, "boot_config.json"),
        *sorted(glob.glob(os.path.join(glob.escape(root), "missions", "*.json"))),
    ]:
        try:
            data = files.read_limited(path, SIZE_LIMIT)
            mission = msgspec.json.decode(data or b"", type=_Mission)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        for candidate in mission.components:
            if candidate.id == component:
                return candidate.layer
    raise EditError(f"no configuration in {root} has a component {component}, so its layer is not known")


def _mission_folder(logfile: str) -> str | None:
    folder = os.path.dirname(os.path.abspath(logfile))
    candidates = []
    for _ in range(_REACH):
        candidates.append(folder)
        folder = os.path.dirname(folder)
    candidates.append(os.getcwd())
    return next((c for c in candidates if os.path.isfile(os.path.join(c, ENVIRONMENTS))), None)


def _backup(path: str, data: bytes) -> str:
    base = backup = f"{path}.bak-{file_stamp(time.time())}"
    number = 2
    while os.path.lexists(backup):
        backup = f"{base}-{number}"
        number += 1
    files.replace(backup, data, mode=os.stat(path).st_mode & 0o7777)
    return backup


def _diff(before: str, after: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(
        before.splitlines(), after.splitlines(), f"{ENVIRONMENTS} (before)", ENVIRONMENTS, lineterm="", n=2
    )
    return "\n".join(map(one_line, lines))
