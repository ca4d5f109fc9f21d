"""What a sandbox shows of the machine: system folders, the interpreter, the copy; nothing private."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable

from agents.razar.patching.scratch import left_in_place

__all__ = ["PRIVATE", "environment", "masked", "shown", "within"]

#: Folders that are empty in a sandbox: homes, run-time sockets, data. Where /var holds a home is no matter.
PRIVATE = ("/boot", "/home", "/media", "/mnt", "/root", "/run", "/srv", "/tmp", "/var")
_PRIVATE_FILES = ("/etc/gshadow", "/etc/gshadow-", "/etc/shadow", "/etc/shadow-", "/etc/sudoers")
_PRIVATE_ETC = (
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers.d",
    "/etc/wireguard",
)
#: The only variables that tests inherit.
_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ")


def masked(logs: str) -> list[str]:
    """Paths that are empty in a sandbox; ``logs`` too, which hold the originals and the journal."""
    found = [path for path in (*PRIVATE, *_PRIVATE_ETC, *_PRIVATE_FILES) if os.path.exists(path)]
    # A link (such as /var/run) leads to a folder that has an entry of its own.
    found = [path for path in found if not os.path.islink(path)]
    for path in (os.path.expanduser("~"), os.path.realpath(logs)):
        if os.path.isdir(path) and path != "/" and not any(within(path, other) for other in found):
            found.append(path)
    return found


def shown(root: str, commands: Iterable[tuple[str, ...]], hidden: Iterable[str]) -> list[str]:
    """What must still be there below the masked folders: interpreters, and installed software of the tree."""
    hidden = list(hidden)
    found: list[str] = []
    programs = [command[0] for command in commands if command] + [sys.executable]
    for program in programs:
        for prefix in _prefixes(program, root):
            inside = any(within(prefix, other) for other in hidden)
            holds = any(within(other, prefix) for other in (*hidden, root))
            if inside and not holds and not within(prefix, root) and prefix not in found:
                found.append(prefix)
    found += [os.path.join(root, name) for name in left_in_place(root)]
    return [path for path in found if os.path.exists(path)]


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it; both absolute and normal."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _prefixes(program: str, root: str) -> Iterable[str]:
    """The installation of a program: the folder above its ``bin``, at each link on the way to it."""
    where = shutil.which(program) if "/" not in program else os.path.join(root, program)
    for _ in range(10):
        if where is None or not os.path.lexists(where):
            return
        where = os.path.normpath(where)
        folder = os.path.dirname(where)
        yield os.path.dirname(folder) if os.path.basename(folder) == "bin" else where
        real = os.path.join(os.path.realpath(folder), os.path.basename(where))
        if real != where:
            where = real
        elif os.path.islink(where):
            where = os.path.join(folder, os.readlink(where))
        else:
            return


def environment(tree: str, temporary: str, extra: dict[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a test: a few variables of ours, and none that could hold a secret.

    No bytecode is read from caches or written, so what runs is what the files say.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        "PATH": os.defpath,
        **inherited,
        "HOME": temporary,
        "TMPDIR": temporary,
        "PYTHONPATH": tree,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPYCACHEPREFIX": os.path.join(temporary, "pycache"),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        **(extra or {}),
    }
