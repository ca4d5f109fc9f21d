"""Making a layer's lock file, unless the one that is there will do."""

from __future__ import annotations

import os
from collections.abc import Callable

from razar.config.model import EnvironmentSpec
from razar.environments import layout, lock
from razar.environments.files import read_text, remove_file, write_text
from razar.environments.model import LayerError
from razar.environments.requirements import Requirement
from razar.environments.uv import Uv

__all__ = ["locked_text"]

#: Seconds uv may take to resolve a layer; large stacks with source packages take minutes.
RESOLVE_TIMEOUT = 900.0


async def locked_text(
    spec: EnvironmentSpec,
    requirements: list[Requirement],
    *,
    root: str,
    locked: bool,
    python: str,
    uv: Uv,
    say: Callable[[str], None],
) -> str:
    """Return the text of the layer's lock file, made anew if it is stale.

    Raise LayerError if it would have to be made and ``locked`` forbids that.
    """
    inputs = lock.inputs_digest(spec, root, requirements)
    old = layout.read_lock(root, spec.layer)
    if old is not None and lock.is_fresh(old, inputs):
        return old
    name = os.path.relpath(layout.lock_path(root, spec.layer), root)
    if locked:
        state = "there is none" if old is None else "what it was made from has changed since"
        raise LayerError(
            f"with --locked its lock file {name} must be there and up to date, but {state}; "
            "boot once without --locked and commit the file"
        )
    compiled = source = ""
    if requirements:
        say(f"resolving {len(requirements)} dependencies")
        base = os.path.join(layout.layer_folder(root, spec.layer), f"lock-{os.urandom(3).hex()}")
        source, target = os.path.relpath(base + ".in", root), os.path.relpath(base + ".txt", root)
        bound = lock.lower_bound(spec.python)
        try:
            write_text(base + ".in", "".join(one.text + "\n" for one in requirements))
            write_text(base + ".txt", _pins(old))
            await uv(
                "resolving the dependencies",
                *("pip", "compile", "--universal", "--generate-hashes", "--no-header", "--quiet"),
                *("--python", python, *(("--python-version", bound) if bound else ())),
                *("--output-file", target, source),
                timeout=RESOLVE_TIMEOUT,
            )
            compiled = read_text(base + ".txt")
        finally:
            remove_file(base + ".in")
            remove_file(base + ".txt")
    local = {one.path for one in requirements}
    text = lock.render(spec, root, inputs=inputs, compiled=compiled, source=source, local=local)
    count = len(lock.entries(text).hashed)
    lock.write(root, spec.layer, text)
    say(f"locked {count} packages in {name}")
    return text


def _pins(old: str | None) -> str:
    """Return the old lock for uv, which keeps its versions where they still will do."""
    try:
        lock.entries(old or "")
    except LayerError:
        return ""  # A merge conflict, for example.
    return old or ""
