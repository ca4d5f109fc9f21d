"""Runs test commands of a patch on its copy of the tree: shut in, bounded, and with nothing left over."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from agents.razar.patching import layout
from agents.razar.patching.place import free, taken
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.watch import Opened
from razar.launchers import processes
from razar.launchers.base import LaunchError
from razar.utils.redaction import redact

__all__ = ["MODES", "CommandLimits", "CommandRun", "Mode", "Sandbox", "available"]

Mode = Literal["bubblewrap", "namespaces", "landlock", "limits"]
#: From the strongest to the weakest; the first one that works here is used.
MODES: tuple[Mode, ...] = ("bubblewrap", "namespaces", "landlock", "limits")
#: Seconds between two looks at how much a command has written.
_LOOK = 0.1
_TAIL = 4000
#: Bubblewrap before 0.7 knows no size; then it is not used.
_EMPTY = ["--size", str(64 << 20), "--tmpfs"]
_JAIL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jail.py")


class CommandLimits(Struct, frozen=True, kw_only=True):
    """Limits of each command: ``seconds`` on the clock, ``cpu`` seconds and the rest per process, bytes.

    ``written`` is what all of them together may take of the file system that the copy lies on, and what they
    have to leave there.
    """

    seconds: float = 120.0
    cpu: int = 120
    memory: int = 2 << 30
    files: int = 1024
    processes: int = 256
    file_size: int = 256 << 20
    written: int = 1 << 30


class CommandRun(Struct, frozen=True, kw_only=True):
    """How a command ended. ``exit`` None: it was killed at its time limit. ``opened``: patched files it opened.

    ``output`` is its end, without secrets.
    """

    command: str
    exit: int | None
    seconds: float
    output: str
    opened: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.exit == 0


_available: dict[tuple[Mode, ...], Mode] = {}


async def available(modes: tuple[Mode, ...] = MODES) -> Mode:
    """The strongest of ``modes`` that works on this machine. Raises Refusal if none does."""
    import tempfile

    if modes not in _available:
        for mode in modes:
            with tempfile.TemporaryDirectory(prefix="razar-sandbox-") as folder:
                os.mkdir(os.path.join(folder, "tree"))
                box = Sandbox(
                    root=os.path.join(folder, "tree"),
                    scratch=os.path.join(folder, "tree"),
                    work=folder,
                    mode=mode,
                )
                try:
                    run = await box.run((sys.executable, "-I", "-S", "-c", ""))
                except (Refusal, OSError):
                    continue
                if run.passed:
                    _available[modes] = mode
                    break
        else:
            raise Refusal(f"none of {', '.join(modes)} works here, so no test may run", passing=True)
    return _available[modes]


class Sandbox:
    """One copy of a tree and the way in which commands are run on it.

    ``root`` is the real mission folder: with namespaces the copy is seen there, and the real files
    cannot be reached at all. ``work`` is a private folder for what the sandbox itself writes.
    """

    def __init__(
        self,
        *,
        root: str,
        scratch: str,
        work: str,
        mode: Mode,
        limits: CommandLimits | None = None,
        logs: str = "",
        watched: Iterable[str] = (),
    ) -> None:
        self.root = os.path.realpath(root)
        self.scratch = os.path.realpath(scratch)
        self.work = os.path.realpath(work)
        self.mode: Mode = mode
        self.limits = limits or CommandLimits()
        self.logs = logs or self.work
        self.watched = tuple(watched)
        #: What the last command's sandbox reported of itself.
        self.protection: dict[str, object] = {"mode": mode}

    @property
    def _covered(self) -> bool:
        return self.mode in ("bubblewrap", "namespaces")

    async def run(self, command: tuple[str, ...]) -> CommandRun:
        """Run one command to its end. Raises Refusal if the sandbox itself could not be set up."""
        report = os.path.join(self.work, "sandbox.json")
        if os.path.lexists(report):
            os.unlink(report)
        temporary = os.path.join(self.work, "tmp")
        os.makedirs(temporary, mode=0o700, exist_ok=True)
        tree, home = (self.root, "/tmp") if self._covered else (self.scratch, temporary)
        environment = layout.environment(tree, home)
        argv = self._argv(command, tree, report, environment)
        before = await asyncio.to_thread(self._taken)
        opened = Opened(self.scratch, self.watched)
        started = time.monotonic()
        try:
            done = await self._bounded(
                processes.run(
                    argv,
                    cwd=self.work,
                    env=environment,
                    timeout=self.limits.seconds,
                    capture=True,
                    grace=0,
                ),
                before,
            )
            seconds = time.monotonic() - started
            seen = opened.seen()
        except LaunchError as error:
            raise Refusal(f"the sandbox cannot be started: {error}", passing=True) from None
        finally:
            opened.close()
            if not self._covered:
                shutil.rmtree(temporary, ignore_errors=True)
        self._read_report(report, done)
        return CommandRun(
            command=shlex.join(command),
            exit=None if done.timed_out else self._exit(done),
            seconds=round(seconds, 3),
            output=redact(done.output[-2 * _TAIL :].decode(errors="replace"))[-_TAIL:],
            opened=tuple(path for path in self.watched if path in seen),
        )

    async def _bounded(self, work: Coroutine[Any, Any, processes.Completed], own: int) -> processes.Completed:
        """Await a command; kill it if it fills the file system, of which it had ``own`` bytes. Raises Refusal."""
        limit = self.limits.written
        before, suspicious = free(self.scratch), limit
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=_LOOK))[0]:
                left = free(self.scratch)
                if before - left <= suspicious:
                    continue
                # Others write there too: a download of a model must not be held against a patch.
                if await asyncio.to_thread(self._taken) - own > limit:
                    raise Refusal(f"the test wrote more than {limit >> 20} MiB; it was killed")
                if left < limit:
                    raise Refusal(
                        f"less than {limit >> 20} MiB were left on the disk while the test ran; it was killed",
                        passing=True,
                    )
                suspicious = before - left + limit // 8
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        return task.result()

    def _taken(self) -> int:
        """Bytes that what the command can write to takes of the disk; not what it has open and removed."""
        return taken(self.scratch) + (0 if self._covered else taken(os.path.join(self.work, "tmp")))

    @staticmethod
    def _exit(done: processes.Completed) -> int | None:
        if done.code is not None or done.signal is None:
            return done.code
        import signal

        return 128 + int(getattr(signal, f"SIG{done.signal}", 0))

    def _argv(
        self, command: tuple[str, ...], tree: str, report: str, environment: dict[str, str]
    ) -> list[str]:
        hidden = layout.masked(self.logs)
        shown = layout.shown(self.root, [command], hidden if self._covered else [*hidden, "/"])
        if not self._covered:
            shown = [path for path in shown if path != "/"]
        limits = msgspec.structs.asdict(self.limits)
        del limits["seconds"], limits["written"]
        spec = {
            "argv": list(command),
            "cwd": tree,
            "report": report,
            "mode": "limits" if self.mode == "bubblewrap" else self.mode,
            "scratch": self.scratch,
            "root": self.root,
            "masked": hidden,
            "shown": shown,
            "limits": limits,
        }
        with open(_JAIL, encoding="utf-8") as source:
            program = source.read()
        if self.mode == "bubblewrap":
            spec["report"] = _REPORT_INSIDE
        jail = [sys.executable, "-I", "-S", "-c", program, msgspec.json.encode(spec).decode()]
        return (
            self._bubblewrap(hidden, shown, report, environment) + jail if self.mode == "bubblewrap" else jail
        )

    def _bubblewrap(
        self, hidden: list[str], shown: list[str], report: str, environment: dict[str, str]
    ) -> list[str]:
        program = shutil.which("bwrap")
        if program is None:
            raise Refusal("bubblewrap is not installed", passing=True)
        argv = [
            program,
            "--unshare-all",
            "--unshare-user",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
            "--clearenv",
        ]
        for name, value in environment.items():
            argv += ["--setenv", name, value]
        argv += ["--ro-bind", "/", "/"]
        for path in hidden:
            argv += [*_EMPTY, path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
        # Root's own number keeps its rights on the files of /proc/sys, capabilities or not.
        argv += [
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--remount-ro",
            "/proc",
            "--bind",
            self.scratch,
            self.root,
        ]
        for path in shown:
            argv += ["--ro-bind", path, path]
        for path in hidden:
            if os.path.isdir(path) and path != "/tmp":
                argv += ["--remount-ro", path]
        with open(report, "wb"):
            pass
        return [*argv, "--bind", report, _REPORT_INSIDE, "--chdir", self.root, "--"]

    def _read_report(self, report: str, done: processes.Completed) -> None:
        try:
            with open(report, "rb") as file:
                found = msgspec.json.decode(file.read(65536), type=dict[str, object])
        except (OSError, msgspec.MsgspecError):
            found = {
                "error": done.output[-500:].decode(errors="replace").strip() or "it ended before it began"
            }
        if "error" in found:
            raise Refusal(f"the sandbox ({self.mode}) cannot be set up: {found['error']}", passing=True)
        self.protection = {**found, "mode": self.mode, "limits": msgspec.structs.asdict(self.limits)}
        if self.mode == "bubblewrap":
            self.protection["namespaces"] = ["ipc", "mount", "net", "pid", "user", "uts"]
        self.protection["network"] = {"landlock": "no TCP", "limits": "open"}.get(self.mode, "none")
        self.protection["environment"] = "cleared"


#: Where a command in bubblewrap finds the file that its jail reports to; closed before it starts.
_REPORT_INSIDE = "/tmp/.razar-sandbox.json"
