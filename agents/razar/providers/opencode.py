"""opencode as a repair agent: ACP first, `opencode run` where that cannot be had."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping

from msgspec.structs import replace

from agents.razar.agent import Suggestion, Task
from agents.razar.errors import BrokenConnectionError, ConfigurationError, ServerError
from agents.razar.local.workspace import Workspace, also_readable, workspace
from agents.razar.providers.acp import AcpTask, accounted, installed
from agents.razar.providers.opencode_config import inline, settings
from agents.razar.providers.opencode_record import record, trouble
from agents.razar.providers.told import told_error
from agents.razar.web.own_keys import OwnKeys
from razar.utils.redaction import one_line

__all__ = ["OpencodeAgent", "opencode_agent"]

BIN = "OPENCODE_BIN"
_MAJORS = (1, 2)
_PROBE_TIME = 30.0
#: In a folder above, opencode would run plugins of these with our key, whatever its settings say.
_CONFIGURED = (".opencode", "opencode.json", "opencode.jsonc")


class OpencodeAgent:
    """The program of OPENCODE_BIN. See :class:`agents.razar.agent.RepairAgent`.

    ``wires`` are tried in order; the second only if the first cannot be had at all.
    """

    name = "opencode"

    def __init__(self, environ: Mapping[str, str], *, wires: tuple[str, ...] = ("acp", "run")) -> None:
        self._environ = environ
        self._program = environ.get(BIN, "").strip() or "opencode"
        self._wires = wires
        self._settings = settings(environ)
        self._readable = also_readable(environ)
        self._keys = OwnKeys(self._settings.env.values())
        self._probed: tuple[tuple[str, int, int], int] | None = None
        self.endpoint = self._settings.endpoint

    def __repr__(self) -> str:
        return f"<OpencodeAgent {self.endpoint}>"

    async def propose(self, task: Task, *, seconds: float) -> Suggestion:
        """See :meth:`agents.razar.agent.RepairAgent.propose`."""
        program = self._found()
        talk = AcpTask("opencode", self.endpoint, self._keys)
        async with (
            accounted(seconds, talk),
            workspace(task, to=self.endpoint, readable=self._readable) as place,
        ):
            major = await self._major(program, place)
            path = place.environment(self._environ, {})["PATH"]
            _enclose(place.copy.folder, certain=major == 1 and shutil.which("git", path=path) is not None)
            self._lend_logins(place)
            try:
                return await self._ask(talk, task, place, program, major)
            except ServerError as error:
                known = record(place.home).error
                if known is None:
                    raise
                raise told_error("opencode", None, str(known.get("message")), known, self._keys) from error
            finally:
                talk.trouble = trouble(place.home)
                self._count(talk, place)

    async def _ask(self, talk: AcpTask, task: Task, place: Workspace, program: str, major: int) -> Suggestion:
        model = self._settings.model
        if "acp" in self._wires and installed():
            try:
                argv = (program, "acp", "--cwd", place.copy.folder)
                found = await talk.run(task, place, argv, self._env(place, task, edit="ask"))
                self._count(talk, place)
                return replace(found, model=found.model or model, tokens=talk.tokens, requests=talk.requests)
            except BrokenConnectionError:
                if talk.began or "run" not in self._wires:
                    raise
                talk.sent.clear()  # The same is noted anew.
        from agents.razar.providers.opencode_run import run

        env = self._env(place, task, edit="allow")
        return await run(talk, task, place, program, env, major=major, model=model, keys=self._keys)

    def _count(self, talk: AcpTask, place: Workspace) -> None:
        """Its own books are exact, and know of requests that its wires do not tell of."""
        known = record(place.home)
        if known.tokens is not None:
            talk.tokens = max(talk.tokens or 0, known.tokens)
        talk.requests = max(talk.requests, known.requests)

    def _found(self) -> str:
        path = shutil.which(self._program, path=self._environ.get("PATH", os.defpath))
        if path is None:
            raise ConfigurationError(
                f"opencode is not there: {BIN} is {self._program[:200]!r}, which is no program on PATH; "
                "see docs/agents.md for how to get it"
            )
        return os.path.abspath(path)

    async def _major(self, program: str, place: Workspace) -> int:
        """The major version, asked for again only if the file is another one."""
        from razar.launchers.base import LaunchError
        from razar.launchers.processes import run

        found = os.stat(os.path.realpath(program))
        file = (os.path.realpath(program), found.st_mtime_ns, found.st_size)
        if self._probed is not None and self._probed[0] == file:
            return self._probed[1]
        env = place.environment(self._environ, {})
        try:
            done = await run(
                (program, "--version"), cwd=place.home, env=env, capture=True, timeout=_PROBE_TIME, grace=0
            )
        except LaunchError as error:
            raise ConfigurationError(str(error)) from None
        lines = done.output.decode(errors="replace").split()
        version = next((word for word in lines if re.fullmatch(r"v?\d+\.\d+\.\d+\S*", word)), None)
        if version is None:
            said = one_line(" ".join(lines), 200) or "nothing"
            raise ConfigurationError(f"{program} --version says {said!r}: expected a version of opencode")
        major = int(version.lstrip("v").partition(".")[0])
        if major not in _MAJORS:
            raise ConfigurationError(f"{program}: found opencode {version[:40]}, expected version 1 or 2")
        self._probed = (file, major)
        return major

    def _env(self, place: Workspace, task: Task, *, edit: str) -> dict[str, str]:
        more = inline(self._settings, edit=edit)
        if task.traceparent is not None:
            more["TRACEPARENT"] = task.traceparent
        return place.environment(self._environ, more)

    def _lend_logins(self, place: Workspace) -> None:
        """Link the file of its logins, so that a token that is renewed is not lost."""
        if self._settings.auth is not None:
            folder = os.path.join(place.home, ".local", "share", "opencode")
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.symlink(self._settings.auth, os.path.join(folder, "auth.json"))
            place.lent.append(os.path.realpath(self._settings.auth))


def _enclose(folder: str, *, certain: bool) -> None:
    """Keep opencode from looking for settings and plugins in the folders above its copy.

    It stops at the root of a repository, if git is there to tell it so; an empty one is made for that.
    """
    git = os.path.join(folder, ".git")
    os.makedirs(os.path.join(git, "objects"))
    os.makedirs(os.path.join(git, "refs", "heads"))
    with open(os.path.join(git, "HEAD"), "w") as file:
        file.write("ref: refs/heads/main\n")
    if certain:
        return
    above = folder
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        for name in _CONFIGURED:
            if os.path.lexists(os.path.join(above, name)):
                raise ConfigurationError(
                    f"{os.path.join(above, name)} would be used by opencode: remove it, set TMPDIR to another "
                    "place, or install git"
                )


def opencode_agent(environ: Mapping[str, str]) -> OpencodeAgent:
    """Opencode as the environment configures it. Raises ConfigurationError."""
    return OpencodeAgent(environ)
