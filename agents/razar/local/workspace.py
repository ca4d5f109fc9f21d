"""Where an agent on this machine works: a masked copy, a home of its own, an environment from a short list."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from agents.razar.agent import Task
from agents.razar.errors import ConfigurationError
from agents.razar.local.masked_export import MaskedExport, export_masked
from agents.razar.patching.scratch import remove
from agents.razar.web.http_async import in_thread

__all__ = ["HANDED_ON", "PATHS", "Workspace", "also_readable", "handed_on", "workspace"]

#: The variable with the names of those that agents on this machine get besides the usual ones.
HANDED_ON = "RAZAR_AGENT_ENV"
#: The variable with further files and folders that they may read.
PATHS = "RAZAR_AGENT_PATHS"
_USUAL = re.compile(r"PATH|LANG|LANGUAGE|LC_\w+|TZ|SSL_CERT_FILE|SSL_CERT_DIR")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Workspace(Struct, frozen=True, kw_only=True):
    """``folder`` holds the copy, the home and everything else; it is gone afterwards.

    ``root`` and ``logs`` are the mission's own folders, which the program is not to see; ``lent`` are
    further files and folders of the operator's that it may write, ``readable`` such as it may read.
    """

    folder: str
    home: str
    copy: MaskedExport
    root: str
    logs: str
    lent: list[str] = []
    readable: tuple[str, ...] = ()

    def environment(
        self, environ: Mapping[str, str], more: Mapping[str, str], *, home: str | None = None
    ) -> dict[str, str]:
        """What a program started here gets, and nothing else; ``home`` is one that it keeps."""
        home = home or self.home
        usual = {name: value for name, value in environ.items() if _USUAL.fullmatch(name)}
        usual.setdefault("PATH", os.defpath)
        places = {
            "HOME": home,
            "TMPDIR": os.path.join(self.home, "tmp"),
            "XDG_CACHE_HOME": os.path.join(home, ".cache"),
            "XDG_CONFIG_HOME": os.path.join(home, ".config"),
            "XDG_DATA_HOME": os.path.join(home, ".local", "share"),
            "XDG_RUNTIME_DIR": os.path.join(self.home, "tmp"),
            "XDG_STATE_HOME": os.path.join(home, ".local", "state"),
        }
        return usual | places | dict(more)


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that RAZAR_AGENT_ENV names, where they are set. Raises ConfigurationError."""
    names = re.split(r"[\s,]+", environ.get(HANDED_ON, "").strip(" \t\r\n,"))
    for name in names:
        if name and not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{HANDED_ON}: expected names of variables, such as OPENAI_API_KEY, HTTPS_PROXY"
            )
    return {name: environ[name] for name in names if name in environ}


def also_readable(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The paths of RAZAR_AGENT_PATHS. Raises ConfigurationError."""
    paths = tuple(path for path in environ.get(PATHS, "").split(":") if path.strip())
    for path in paths:
        if not (os.path.isabs(path) and os.path.exists(path)):
            raise ConfigurationError(
                f"{PATHS}: found {path[:200]!r}, expected absolute paths that exist, separated by colons"
            )
    return paths


@asynccontextmanager
async def workspace(task: Task, *, to: str, readable: tuple[str, ...] = ()) -> AsyncIterator[Workspace]:
    """Make a workspace for a task. ``to`` is whom the copy could be sent to."""
    import tempfile

    try:
        folder = os.path.realpath(tempfile.mkdtemp(prefix="razar-agent-"))
    except OSError as fault:
        raise ConfigurationError(f"no folder for an agent can be made: {fault.strerror}") from None
    try:
        home = os.path.join(folder, "home")
        os.makedirs(os.path.join(home, "tmp"), mode=0o700)
        stop = threading.Event()

        def copy() -> MaskedExport:
            target = os.path.join(folder, "project")
            left_out = (task.logs, folder)
            return export_masked(task.root, target, to=to, leave_out=left_out, stopped=stop.is_set)

        yield Workspace(
            folder=folder,
            home=home,
            copy=await in_thread(copy, stop.set),
            root=os.path.realpath(task.root),
            logs=os.path.realpath(task.logs),
            readable=readable,
        )
    finally:
        await in_thread(lambda: remove(folder), lambda: None)
