"""Shuts an agent's program in: it writes only where it works, and sees neither the mission nor anybody's home.

Bubblewrap does it, where it is installed and allowed. The network stays: the agent's model is there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence

from agents.razar.local.workspace import Workspace
from agents.razar.patching import layout
from razar.launchers.base import LaunchError
from razar.launchers.processes import run

__all__ = ["confined", "usable"]

#: What a program needs below the folders that are hidden: how names are resolved, whom TLS trusts.
_SYSTEM = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/ca-bundle.pem", "/var/lib/ca-certificates")
_TRUSTED = ("SSL_CERT_FILE", "SSL_CERT_DIR")
#: Bytes of what is written into a folder that is empty for the agent.
_EMPTY = ("--size", str(64 << 20), "--tmpfs")
_BASE = (
    "--unshare-user --unshare-pid --unshare-ipc --unshare-uts --die-with-parent --new-session --cap-drop ALL "
    "--ro-bind / /"
).split()
_OWN = ("--dev", "/dev", "--proc", "/proc")

_usable: dict[str, bool] = {}


async def usable() -> bool:
    """Whether agents' programs can be shut in on this machine."""
    return await _bubblewrap() is not None


async def _bubblewrap() -> str | None:
    """The program, if it may make what is needed here; tried until it has said so or not."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    if program not in _usable:
        argv = (program, *_BASE, *_EMPTY, "/tmp", *_OWN, "--", "true")
        try:
            done = await run(argv, timeout=10, grace=0)
        except LaunchError:
            return None
        if done.code is None:
            return None  # The machine had no time or memory for it; that is no answer for the rest of the mission.
        _usable[program] = done.code == 0
    return program if _usable[program] else None


async def confined(argv: Sequence[str], env: Mapping[str, str], place: Workspace) -> tuple[str, ...]:
    """The command that runs ``argv`` shut in; ``argv`` itself where that cannot be done."""
    found = shutil.which(argv[0], path=env.get("PATH"))
    bwrap = await _bubblewrap() if found is not None else None
    if found is None or bwrap is None:
        return tuple(argv)  # What cannot be found is for whoever starts it to explain.
    command = (os.path.abspath(found), *argv[1:])
    hidden = layout.masked(place.root)
    if not any(layout.within(place.logs, folder) for folder in hidden):
        hidden.append(place.logs)
    options: list[str] = []
    for path in hidden:
        options += [*_EMPTY, path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
    for path in [*_readable(command, env, place.root, hidden), *place.readable]:
        options += ["--ro-bind", path, path]
    for path in hidden:
        if os.path.isdir(path) and path != "/tmp":
            options += ["--remount-ro", path]
    for path in (place.folder, *place.lent):
        options += ["--bind", path, path]
    return (bwrap, *_BASE, *options, *_OWN, "--chdir", place.copy.folder, "--", *command)


def _readable(
    command: tuple[str, ...], env: Mapping[str, str], root: str, hidden: Sequence[str]
) -> list[str]:
    """What has to be seen all the same: the program, its interpreter, files it is given, the system's own."""
    interpreter = _interpreter(command[0], env)
    paths = layout.shown(root, [command, interpreter], hidden)
    named = [word for word in command[1:] if os.path.isabs(word) and os.path.exists(word)]
    named += [os.path.realpath(path) for path in _SYSTEM]
    named += [env[name] for name in _TRUSTED if name in env]
    for path in named:
        if os.path.exists(path) and any(layout.within(path, folder) for folder in hidden):
            paths.append(path)
    return paths


def _interpreter(program: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """The program that a script's first line names, through env(1) too."""
    try:
        with open(program, "rb") as file:
            first = file.readline(256)
    except OSError:
        return ()
    words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [found for word in words[1:2] if (found := shutil.which(word, path=env.get("PATH")))]
    return tuple(words[:1])
