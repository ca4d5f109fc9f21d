"""Files that survive a kill: replaced whole, appended to in whole lines, rotated, set aside."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from razar.utils.times import file_stamp

__all__ = [
    "MODE",
    "append_line",
    "iterate_lines",
    "open_regular",
    "read_limited",
    "replace",
    "rotate",
    "set_aside",
    "sweep",
    "why",
    "write_all",
]

#: Files of a mission are for its user and group.
MODE = 0o640


def replace(path: str, data: bytes, *, mode: int | None = MODE, sync: bool = True) -> None:
    """Put ``data`` in the place of a file, so that at every instant the old or the new one is there.

    ``mode`` None keeps that of the existing file. With ``sync`` the data is on the disk before
    the name points to it. Raises OSError, which names a file; the old one is untouched then and
    nothing is left over.
    """
    folder, name = os.path.split(path)
    # Not the pid: in a container it is the same in every run, and so would be what a kill left.
    temporary = os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")
    if mode is None:
        try:
            mode = os.stat(path).st_mode & 0o7777
        except FileNotFoundError:
            mode = MODE
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode)
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException as fault:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        _name(fault, path)
        raise


def sweep(path: str) -> None:
    """Remove what a killed process left of ``replace(path)``. Only the one owner of a file may."""
    folder, name = os.path.split(path)
    try:
        entries = os.listdir(folder or ".")
    except OSError:
        return
    for entry in entries:
        if entry.startswith(f".{name}.") and entry.endswith(".tmp"):
            try:
                os.unlink(os.path.join(folder, entry))
            except OSError:
                pass


def write_all(fd: int, data: bytes) -> None:
    """Write everything; a disk that is nearly full takes a part first and refuses the rest."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def append_line(path: str, line: bytes, *, mode: int = MODE) -> None:
    """Append one line (without its newline) in one write, also beside other processes that do.

    A last line that was torn off by a kill is ended first, so that it spoils no other.
    Raises OSError, which names the file.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        size = os.fstat(fd).st_size
        if size == 0:
            os.fchmod(fd, mode)
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        write_all(fd, (b"\n" if torn else b"") + line + b"\n")
    except OSError as fault:
        _name(fault, path)
        raise
    finally:
        os.close(fd)


def _name(fault: BaseException, path: str) -> None:
    """A full disk refuses a descriptor, whose file it does not know."""
    if isinstance(fault, OSError) and fault.filename is None:
        fault.filename = path


def rotate(path: str, keep: int) -> None:
    """Rename ``path`` to ``path.1``, that to ``path.2`` and so on; ``path.<keep>`` is replaced.

    Raises OSError if ``path`` could not be moved.
    """
    for number in range(keep - 1, 0, -1):
        try:
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")
        except FileNotFoundError:
            pass
    os.rename(path, f"{path}.1")


def set_aside(path: str, at: float, label: str = "corrupt") -> str | None:
    """Rename a file to ``path.corrupt-2025-09-21T00-00-05Z`` and return that; None if it cannot be."""
    target = base = f"{path}.{label}-{file_stamp(at)}"
    number = 2
    while os.path.lexists(target):
        target = f"{base}-{number}"
        number += 1
    try:
        os.rename(path, target)
    except OSError:
        return None
    return target


def read_limited(path: str, limit: int) -> bytes | None:
    """The bytes of a regular file of at most ``limit`` bytes; None if it is longer. Raises OSError."""
    with open(open_regular(path), "rb") as file:
        data = file.read(limit + 1)
    return None if len(data) > limit else data


def iterate_lines(path: str, limit: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number from 1, line without its newline, whether it ended in one).

    Of a line longer than ``limit`` bytes only the first ``limit`` are given. Raises OSError, also
    for what is no regular file.
    """
    with open(open_regular(path), "rb", buffering=1 << 18) as file:
        number = 0
        while line := file.readline(limit):
            number += 1
            rest = line
            while not rest.endswith(b"\n") and len(rest) == limit:
                rest = file.readline(limit)
            yield number, line.rstrip(b"\n"), rest.endswith(b"\n")


def open_regular(path: str) -> int:
    """Open a regular file for reading; return the descriptor. Raises OSError, also for what is none."""
    # O_NONBLOCK: a pipe that somebody put in the file's place must not hang us.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)


def why(fault: OSError) -> str:
    """An OSError in words, without the path, which the message around it names."""
    return fault.strerror or str(fault)
