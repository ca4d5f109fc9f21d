"""The lock file of a layer: what it was made from, whether it is stale, what stands in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from msgspec import Struct

from razar.config.model import EnvironmentSpec
from razar.environments import layout
from razar.environments.files import write_atomically
from razar.environments.model import LayerError
from razar.environments.requirements import Requirement, canonical, parse
from razar.environments.sources import metadata_digest

__all__ = ["Entries", "entries", "inputs_digest", "is_fresh", "lower_bound", "render", "write"]

_INPUTS = "# inputs sha256:"
_GIT_PIN = re.compile(r"@\s*git\+\S+@[0-9a-f]{40}(?:[#\s]|$)")
_LOWER = re.compile(r"\s*(?:>=|~=|===?|>|)\s*(\d+\.\d+(?:\.\d+)?)")


class Entries(Struct, frozen=True):
    """The requirements of a lock: those with hashes, and those pinned to a git commit."""

    hashed: tuple[str, ...]
    pinned: tuple[str, ...]


def write(root: str, layer: str, text: str) -> None:
    """Replace the lock whole."""
    path = layout.lock_path(root, layer)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomically(path, text.encode())


def inputs_digest(spec: EnvironmentSpec, root: str, requirements: list[Requirement]) -> str:
    """Digest everything that decides what the lock should say (SHA-256, hex)."""
    import hashlib

    asked = canonical(spec, root) + metadata_digest(requirements)
    return hashlib.sha256(asked.encode()).hexdigest()


def is_fresh(text: str, inputs: str) -> bool:
    """Tell whether a lock was made from these inputs."""
    return any(line.rstrip() == _INPUTS + inputs for line in text.split("\n", 10)[:10])


def lower_bound(python: str) -> str | None:
    """Return the oldest version that ``python`` allows, if it names one: the lock must suit it too."""
    found = [match[1] for part in python.split(",") if (match := _LOWER.match(part))]
    return max(found, key=lambda version: [int(part) for part in version.split(".")], default=None)


def render(
    spec: EnvironmentSpec, root: str, *, inputs: str, compiled: str, source: str, local: set[str | None]
) -> str:
    """Turn the output of ``uv pip compile`` into the text of the lock file.

    ``source`` is the requirements file as uv was told of it, ``local`` the layer's own local
    paths. Local packages are left out: they have no hash and are installed from where they lie.
    Raise LayerError if one of them is not a dependency of the layer itself.
    """
    lines = [
        f"# The dependencies of the layer {spec.layer}, locked by RAZAR from razar_env.yaml.",
        "# Commit this file to have the same versions everywhere; delete it to resolve them anew.",
        f"# python {spec.python.strip()}",
        _INPUTS + inputs,
    ]
    for block in _blocks(compiled):
        path = parse(block[0].removesuffix("\\"), root).path
        if path is None:
            lines += [
                line.replace(f"-r {source}", "razar_env.yaml") for line in block if "# from " not in line
            ]
        elif path not in local:
            raise LayerError(
                f"a local package asks for another one, {os.path.relpath(path, root)}: "
                "list that path among the dependencies of the layer too"
            )
    return "\n".join(lines) + "\n"


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield each requirement with its indented hashes and comments; options of uv's are dropped."""
    block: list[str] = []
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and block:
            block.append(line)
            continue
        if block:
            yield block
        block = [line] if line and not line.startswith(("#", "-")) else []
    if block:
        yield block


def entries(text: str) -> Entries:
    """Read a lock; raise LayerError for an entry that nothing vouches for."""
    hashed: list[str] = []
    pinned: list[str] = []
    for block in _blocks(text):
        entry = "\n".join(line for line in block if not line.lstrip().startswith("#"))
        if "--hash=sha256:" in entry:
            hashed.append(entry)
        elif _GIT_PIN.search(entry):
            pinned.append(entry)
        else:
            raise LayerError(
                f"the lock file holds an entry without a hash, {block[0].strip()[:200]!r}; "
                "delete the file to have it made anew"
            )
    return Entries(tuple(hashed), tuple(pinned))
