"""Helper commands: run one, bounded in time, output and offspring. Nothing else may start or wait."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from msgspec import Struct

from razar.launchers.base import LaunchError
from razar.launchers.descendants import Family
from razar.launchers.reaper import NONCE, Child, Status, adopted, prepare, spawn

__all__ = [
    "NONCE",
    "Child",
    "Completed",
    "Family",
    "Status",
    "adopted",
    "explain",
    "prepare",
    "run",
    "spawn",
]

#: Most bytes of output kept for ``Completed.output``; the end is what is kept.
OUTPUT_LIMIT = 1 << 20
#: Seconds after KILL for which a process is waited for that the kernel does not let go.
KILL_TIME = 5.0
#: Longest line handed to ``on_line``, in bytes.
LINE_LIMIT = 8192


class Completed(Struct, frozen=True, kw_only=True):
    """How a command ended: exactly one of ``code`` and ``signal`` (a name without ``SIG``) is set.

    Neither is if it could not be ended at all.
    """

    code: int | None
    signal: str | None
    output: bytes
    timed_out: bool


def explain(
    error: OSError | ValueError, argv: Sequence[str], cwd: str | None, path: str | None = None
) -> str:
    """Say in one sentence why a program could not be started."""
    program = argv[0] if argv else ""
    name = repr(program)
    if not isinstance(error, OSError):
        return f"cannot start {name}: its arguments or environment hold a character no program can be given"
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) and cwd is not None:
        if not os.path.isdir(cwd):
            return f"cannot start {name}: the working folder {cwd} does not exist"
        if not os.access(cwd, os.X_OK):
            return f"cannot start {name}: no permission to enter the working folder {cwd}"
    file = os.path.join(cwd or "", program)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR if "/" not in program:
            return f"cannot start {name}: there is no such program on PATH ({path or os.defpath})"
        case errno.ENOENT if interpreter := _interpreter(file):
            return f"cannot start {name}: its first line names {interpreter}, which does not exist"
        case errno.ENOENT | errno.ENOTDIR:
            return f"cannot start {name}: there is no file {os.path.normpath(file)}"
        case errno.EACCES if os.path.isdir(file):
            return f"cannot start {name}: it is a folder"
        case errno.EACCES | errno.EPERM:
            return f"cannot start {name}: it is not executable (chmod +x {program})"
        case errno.ENOEXEC:
            return f"cannot start {name}: it is no program for this machine, and no script with a #! line"
        case errno.E2BIG:
            return f"cannot start {name}: its arguments and environment are larger than the kernel takes"
        case errno.EMFILE:
            import resource

            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return f"cannot start {name}: all {limit} file descriptors are in use (raise it: ulimit -n)"
        case errno.EAGAIN:
            return f"cannot start {name}: the limit of processes is reached (ulimit -u, pids.max)"
    return f"cannot start {name}: {error.strerror or error}"


def _interpreter(file: str) -> str | None:
    """Return the missing interpreter of an existing script."""
    try:
        with open(file, "rb") as script:
            first = script.read(256).split(b"\n", 1)[0]
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return "a loader (see: file)" if first.startswith(b"\x7fELF") else None
    words = first[2:].split()
    return words[0].decode(errors="replace") if words else None


class _Output:
    """The pipe a command writes into: keeps the end, cuts lines, copies to a file."""

    def __init__(self, copy_to: int | None, on_line: Callable[[str], None] | None, keep: bool) -> None:
        self.kept = bytearray()
        self._line = bytearray()
        self._copy_to = copy_to
        self._on_line = on_line
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._read, self.write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        self._loop.add_reader(self._read, self._pump)

    def _pump(self) -> None:
        try:
            data = os.read(self._read, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._read)
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._copy_to is not None:
            view = memoryview(data)
            while view:
                view = view[os.write(self._copy_to, view) :]
        if self._keep:
            self.kept += data
            if len(self.kept) > 2 * OUTPUT_LIMIT:
                del self.kept[:-OUTPUT_LIMIT]
        if self._on_line is not None:
            self._line += data
            *lines, rest = self._line.split(b"\n")
            self._line = rest[:LINE_LIMIT]
            for line in lines:
                self._on_line(line[:LINE_LIMIT].decode(errors="replace").removesuffix("\r"))

    def started(self) -> None:
        """Close our copy of the writing end."""
        os.close(self.write)
        self.write = -1

    def finish(self) -> bytes:
        """Take what is still in the pipe, however many others hold it open, and close."""
        self._loop.remove_reader(self._read)
        try:
            while data := os.read(self._read, 65536):
                self._take(data)
        except BlockingIOError:
            pass
        if self._on_line is not None and self._line:
            self._on_line(self._line.decode(errors="replace"))
        self.close()
        return bytes(self.kept[-OUTPUT_LIMIT:])

    def close(self) -> None:
        """Give the descriptors back."""
        self._loop.remove_reader(self._read)
        os.close(self._read)
        if self.write >= 0:
            os.close(self.write)


async def run(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    capture: bool = False,
    grace: float = 2.0,
    sweep: bool = True,
) -> Completed:
    """Run a helper command to its end; stdin is /dev/null, stderr goes where stdout goes.

    ``stdout`` is a descriptor or an open binary file that gets all output; ``on_line`` is called
    with every line; ``capture`` keeps the last mebibyte. After ``timeout`` seconds, or if the
    caller is cancelled, the whole family gets TERM and, ``grace`` seconds later, KILL (with a grace
    of 0 KILL at once). What the command leaves behind when it ends by itself is killed too, unless
    ``sweep`` is false. Raises LaunchError if the program could not be started.
    """
    loop = asyncio.get_running_loop()
    target = stdout if stdout is None or isinstance(stdout, int) else stdout.fileno()
    output = _Output(target, on_line, capture) if capture or on_line is not None else None
    nonce = secrets.token_hex(8)
    variables = {**(os.environ if env is None else env), NONCE: nonce}
    gone: asyncio.Future[Status] = loop.create_future()
    try:
        sink = output.write if output is not None else target
        child = spawn(argv, cwd=cwd, env=variables, stdout=sink, stderr=sink)
    except (OSError, ValueError) as error:
        if output is not None:
            output.close()
        raise LaunchError(explain(error, argv, cwd, variables.get("PATH"))) from None
    if output is not None:
        output.started()
    family = Family(child, nonce, gone.set_result, sweep=sweep)
    timed_out = False
    try:
        done, _ = await asyncio.wait([gone], timeout=timeout)
        timed_out = not done
    finally:
        try:
            if not gone.done():
                await _end(family, gone, grace)
        finally:
            if not gone.done():
                family.kill()  # Cancelled twice; the table reaps it.
            kept = output.finish() if output is not None else b""
    status = gone.result() if gone.done() else Status(None, None)
    return Completed(code=status.code, signal=status.signal, output=kept, timed_out=timed_out)


async def _end(family: Family, gone: asyncio.Future[Status], grace: float) -> None:
    if grace > 0:
        family.signal(signal.SIGTERM)
        await asyncio.wait([gone], timeout=grace)
    if not gone.done():
        family.kill()
        await asyncio.wait([gone], timeout=KILL_TIME)
