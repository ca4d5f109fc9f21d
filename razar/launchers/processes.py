"""Helper commands: run one, bounded in time, output and offspring. Nothing else may start or wait."""

from __future__ import annotations

import asyncio
import errno
import os
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
    "mark",
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


#: The id of the boot that runs in this process, with which the nonces of its commands begin.
_boot = ""


def mark(boot_id: str) -> None:
    """Have every command told as one of this boot, should RAZAR be killed while it runs."""
    global _boot
    _boot = boot_id


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
    """Say in one sentence why a program could not be started; ``path`` is the PATH it was looked for on."""
    return f"cannot start {argv[0] if argv else ''!r}: {_reason(error, argv, cwd or '', path or os.defpath)}"


def _reason(error: OSError | ValueError, argv: Sequence[str], cwd: str, path: str) -> str:
    if not isinstance(error, OSError):
        return "its arguments or environment hold a character no program can be given"
    if cwd and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        if not os.path.isdir(cwd):
            return f"the working folder {cwd} does not exist"
        if not os.access(cwd, os.X_OK):
            return f"no permission to enter the working folder {cwd}"
    file = _find(argv[0], cwd, path)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR if file is None:
            return f"there is no such program on PATH ({path})"
        case errno.ENOENT | errno.ENOTDIR:
            return _missing_interpreter(file) or f"there is no file {file}"
        case errno.EACCES if os.path.isdir(file or ""):
            return "it is a folder"
        case errno.EACCES | errno.EPERM:
            return f"it is not executable (chmod +x {file or argv[0]})"
        case errno.ENOEXEC:
            return "it is no program for this machine, and no script with a #! line"
        case errno.E2BIG:
            return "its arguments and environment are larger than the kernel takes"
        case errno.EMFILE:
            import resource

            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return f"all {limit} file descriptors are in use (raise it: ulimit -n)"
        case errno.EAGAIN:
            return "the limit of processes is reached (ulimit -u, pids.max)"
    return error.strerror or str(error)


def _find(program: str, cwd: str, path: str) -> str | None:
    """Return the file of a program; None if there is none on PATH."""
    if "/" in program:
        return os.path.normpath(os.path.join(cwd, program))
    import shutil

    return shutil.which(program, path=path)


def _missing_interpreter(file: str | None) -> str | None:
    """Say what an existing program needs and does not find."""
    try:
        with open(file or "", "rb") as program:
            first = program.read(256).split(b"\n", 1)[0]
    except OSError:
        return None
    if first.startswith(b"\x7fELF"):
        return "the dynamic loader it was built for does not exist here"
    words = first[2:].split() if first.startswith(b"#!") else []
    return (
        f"its first line names {words[0].decode(errors='replace')}, which does not exist" if words else None
    )


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
            try:
                while view:
                    view = view[os.write(self._copy_to, view) :]
            except OSError:
                self._copy_to = None  # A full disk must not keep the command from ending.
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
        try:
            while data := os.read(self._read, 65536):
                self._take(data)
        except BlockingIOError:
            pass
        finally:
            self.close()
        if self._on_line is not None and self._line:
            self._on_line(self._line.decode(errors="replace"))
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
    variables = dict(os.environ if env is None else env)
    # What may leave processes behind, like a model that is to stay, belongs to no boot.
    boot = variables.get(NONCE, "").partition("-")[0] or (_boot if sweep else "")
    nonce = variables[NONCE] = f"{boot}-{os.urandom(8).hex()}"
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
