"""Where things lie: locks in ``razar_env.lock/``, environments in ``.razar/environments/<layer>/``.

``current`` leads to the newest one. Every build has a folder of its own that is never used again,
``<start of the digest>-<random>``: running components keep theirs, and what is left of a build
that was killed cannot disturb the next one.
"""

from __future__ import annotations

import os

from razar.environments.files import read_text, remove_file, remove_tree
from razar.environments.stamp import stamp_path

__all__ = [
    "complete",
    "current",
    "finished",
    "layer_folder",
    "lock_path",
    "make_layer_folder",
    "new_folder",
    "prune",
    "read_lock",
    "switch",
]


def layer_folder(root: str, layer: str) -> str:
    """Return the folder that holds a layer's environments."""
    return os.path.join(root, ".razar", "environments", layer)


def lock_path(root: str, layer: str) -> str:
    """Return where the lock of a layer lies."""
    return os.path.join(root, "razar_env.lock", f"{layer}.txt")


def read_lock(root: str, layer: str) -> str | None:
    """Return the lock's text, or None if there is no such text file."""
    try:
        return read_text(lock_path(root, layer))
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def make_layer_folder(root: str, layer: str) -> str:
    """Make that folder, kept out of version control."""
    folder = layer_folder(root, layer)
    os.makedirs(folder, exist_ok=True)
    ignore = os.path.join(os.path.dirname(folder), ".gitignore")
    if not os.path.exists(ignore):
        with open(ignore, "w", encoding="utf-8") as file:
            file.write("*\n")
    return folder


def current(root: str, layer: str) -> str | None:
    """Return the absolute path of the newest environment, whatever its condition."""
    folder = layer_folder(root, layer)
    try:
        return os.path.join(folder, os.path.basename(os.readlink(os.path.join(folder, "current"))))
    except (OSError, ValueError):
        return None


def new_folder(root: str, layer: str, digest: str) -> str:
    """Name a folder for a build."""
    return os.path.join(layer_folder(root, layer), f"{digest[:16]}-{os.urandom(3).hex()}")


def finished(root: str, layer: str) -> set[str]:
    """Return the finished environments of a layer."""
    folder = layer_folder(root, layer)
    names = {name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json")}
    return {os.path.join(folder, name) for name in names if os.path.isdir(os.path.join(folder, name))}


def complete(root: str, layer: str, digest: str) -> list[str]:
    """Return the finished environments of a digest."""
    return sorted(one for one in finished(root, layer) if os.path.basename(one).startswith(digest[:16] + "-"))


def switch(folder: str) -> None:
    """Make an environment the current one, in one step."""
    link = os.path.join(os.path.dirname(folder), "current")
    temporary = f"{link}.{os.getpid()}.tmp"
    remove_file(temporary)
    os.symlink(os.path.basename(folder), temporary)
    os.replace(temporary, link)


def prune(root: str, layer: str, keep: set[str]) -> list[str]:
    """Remove what is neither to be kept nor in use: old environments and the remains of killed builds.

    Only for the holder of the layer's lock. Returns the names that were removed.
    """
    parent = layer_folder(root, layer)
    names = [name for name in os.listdir(parent) if not name.startswith((".", "current"))]
    folders = {os.path.join(parent, name.split(".")[0]) for name in names}
    unwanted = sorted(folders - keep)
    if not unwanted:
        return []
    used = _in_use(unwanted)
    removed = []
    for folder in unwanted:
        if folder in used:
            continue
        remove_file(stamp_path(folder))
        remove_tree(folder)
        for name in names:
            if name.startswith(os.path.basename(folder) + "."):
                remove_file(os.path.join(parent, name))
        removed.append(os.path.basename(folder))
    return removed


def _in_use(folders: list[str]) -> set[str]:
    """Tell which folders stand in the command or environment of a running process (proc(5))."""
    marks = {os.fsencode(os.path.basename(folder)) + b"/": folder for folder in folders}
    used: set[str] = set()
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            used.update(folder for mark, folder in marks.items() if mark in text)
    return used
