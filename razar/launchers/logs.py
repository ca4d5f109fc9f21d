"""A component's log: opened for it, rotated under it without losing a byte, read back by position.

Positions count bytes from the beginning of the file as this process first saw it. They stay valid
when the front of the file is cut off, which is why everybody reads through :func:`log_file`.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading

from razar.launchers.base import LaunchError

__all__ = ["KEEP", "ROTATE_AT", "LogFile", "log_file"]

#: Bytes from which a log is rotated, and how many rotated files (current.log.1 is the newest) are kept.
ROTATE_AT = 10 << 20
KEEP = 5
#: Bytes that stay in the live file when it is rotated while its component runs.
STAY = 64 << 10
#: Bytes looked at for the last lines, and the longest line shown, in characters.
TAIL_BYTES = 64 << 10
LINE_WIDTH = 1000
_BLOCK = 8 << 10
_COLLAPSE_RANGE = 0x08  # FALLOC_FL_COLLAPSE_RANGE, fallocate(2)

_log = logging.getLogger(__name__)
_files: dict[str, LogFile] = {}


def log_file(path: str) -> LogFile:
    """Return the one object for a log; ``path`` is absolute."""
    file = _files.get(path)
    if file is None:
        file = _files[path] = LogFile(path)
    return file


def _clean(lines: list[bytes]) -> tuple[str, ...]:
    """Make lines fit for a screen or a prompt: no secrets, no control characters."""
    from razar.utils.redaction import neutralise, redact

    shown = []
    for line in lines:
        # Progress bars overwrite their line: its last state is what a terminal would show.
        text = line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
        shown.append(text if len(text) <= LINE_WIDTH else text[: LINE_WIDTH - 1] + "…")
    return tuple(neutralise(line) for line in redact("\n".join(shown)).split("\n"))


class LogFile:
    """One current.log. Only :meth:`rotate` may be called from another thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._dropped = 0
        #: Held while the front is cut off, a few milliseconds: by whoever needs sizes to agree.
        self._lock = threading.Lock()
        #: Held by whoever renames files, for as long as a rotation takes.
        self._renaming = threading.Lock()
        self._uncuttable = False
        self._told = False
        self._runaway = False

    def size(self) -> int:
        """Return the size of the live file in bytes; 0 if there is none."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0

    def offset(self, position: int) -> int:
        """Turn a position into an offset in the live file."""
        return max(0, position - self._dropped)

    def position(self, offset: int) -> int:
        """Turn an offset in the live file into a position."""
        return self._dropped + offset

    def open(self) -> tuple[int, int]:
        """Open for appending; return descriptor and position of the end.

        Folders are made with mode 0750, the file with 0640; a log over ROTATE_AT bytes becomes
        current.log.1 first. Raises LaunchError.
        """
        try:
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                _make_folder(os.path.dirname(self.path))
            else:
                if not stat.S_ISREG(found.st_mode):
                    raise LaunchError(f"cannot open the log {self.path}: it is not a regular file")
                self._tidy(found.st_size)
            fd = _append(self.path)
            with self._lock:
                return fd, self._dropped + os.fstat(fd).st_size
        except OSError as error:
            raise LaunchError(f"cannot open the log {self.path}: {error.strerror}") from None

    def _tidy(self, size: int) -> None:
        if not self._renaming.acquire(blocking=False):
            return  # It is being rotated at this moment.
        try:
            self._settle()
            if size >= ROTATE_AT:
                self._shift()
                os.rename(self.path, f"{self.path}.1")
                self._dropped += size
        finally:
            self._renaming.release()

    def read(self, since: int, limit: int) -> tuple[bytes, int]:
        """Read up to ``limit`` bytes from a position; return them and the position after them.

        Returns nothing at the end, and while the file is being cut. What was cut off last is read
        from current.log.1.
        """
        if not self._lock.acquire(blocking=False):
            return b"", since
        try:
            if since < self._dropped:
                since, data = self._read_rotated(since, limit)
                if data is not None:
                    return data, since + len(data)
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if since - self._dropped > os.fstat(fd).st_size:
                    self._dropped = since  # Somebody else has truncated it.
                data = os.pread(fd, limit, since - self._dropped)
                return data, since + len(data)
            finally:
                os.close(fd)
        except OSError:
            return b"", since
        finally:
            self._lock.release()

    def _read_rotated(self, since: int, limit: int) -> tuple[int, bytes | None]:
        """Return where to read on, and the bytes from there unless they are in the live file."""
        if self._renaming.locked():
            return since, b""
        try:
            with open(f"{self.path}.1", "rb") as file:
                start = self._dropped - os.fstat(file.fileno()).st_size
                data = os.pread(file.fileno(), limit, max(0, since - start))
                return max(since, start), data
        except FileNotFoundError:
            return self._dropped, None

    def tail(self, since: int, lines: int) -> tuple[str, ...]:
        """Return the last lines written from a position on, cleaned and cut to LINE_WIDTH."""
        try:
            with self._lock, open(self.path, "rb", buffering=0) as file:
                at = os.fstat(file.fileno()).st_size
                begin = max(since - self._dropped, at - TAIL_BYTES, 0)
                data = b""
                while at > begin and data.count(b"\n") <= lines:
                    step = min(_BLOCK, at - begin)
                    at -= step
                    data = os.pread(file.fileno(), step, at) + data
        except OSError:
            return ()
        found = data.removesuffix(b"\n").split(b"\n")[-lines:]
        return _clean(found) if data and lines > 0 else ()

    def rotate(self) -> bool:
        """Move all but the last STAY bytes into current.log.1 while others go on writing.

        The bytes are copied, then cut off the front of the live file in one step in which the
        kernel holds writers back (fallocate(2), ext4 and XFS). Where the file system cannot do it,
        the log stays whole and that is told once. Returns whether anything was moved.
        """
        if self._uncuttable:
            return False
        try:
            with self._renaming:
                self._settle()
                with open(self.path, "rb+", buffering=0) as file:
                    return self._rotate(file.fileno())
        except FileNotFoundError:
            return False
        except OSError as error:
            self._uncuttable = error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
            if not self._told:
                self._told = True
                _log.warning("%s grows and cannot be rotated: %s", self.path, error.strerror)
            return False

    def _rotate(self, fd: int) -> bool:
        spare = f"{self.path}.new"
        block = os.fstatvfs(fd).f_bsize
        self._drop((os.fstat(fd).st_size - KEEP * ROTATE_AT) // block * block, fd)
        length = (os.fstat(fd).st_size - max(STAY, block)) // block * block
        if length <= 0:
            return False
        try:
            _copy(fd, spare, length)
            os.fdatasync(fd)  # So that cutting does not wait for the disk while it holds the writers.
            with self._lock:
                _collapse(fd, length)
                self._dropped += length
        except OSError:
            _remove(spare)
            raise
        self._shift()
        os.rename(spare, f"{self.path}.1")
        return True

    def _drop(self, length: int, fd: int) -> None:
        """Cut off what a runaway wrote beyond everything that is ever kept: nobody could copy it as fast."""
        if length <= 0:
            return
        with self._lock:
            _collapse(fd, length)
            self._dropped += length
        if not self._runaway:
            self._runaway = True
            _log.warning("%s grows too fast: its oldest lines are not kept", self.path)

    def _shift(self) -> None:
        for number in range(KEEP - 1, 0, -1):
            try:
                os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            except FileNotFoundError:
                continue

    def _settle(self) -> None:
        """Finish or forget a rotation in whose middle this program was killed."""
        spare = f"{self.path}.new"
        try:
            uncut = _begins_with(self.path, spare)
        except FileNotFoundError:
            return
        if uncut:
            _remove(spare)  # Not cut yet, perhaps not even wholly copied.
        else:
            self._shift()
            os.rename(spare, f"{self.path}.1")


def _begins_with(path: str, beginning: str) -> bool:
    with open(beginning, "rb") as expected, open(path, "rb") as file:
        while block := expected.read(1 << 16):
            if file.read(len(block)) != block:
                return False
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _append(path: str) -> int:
    """Open a log, or make one with its mode whatever the umask."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        fd = os.open(path, flags | os.O_CREAT, 0o640)
        os.fchmod(fd, 0o640)
        return fd


def _make_folder(path: str) -> None:
    if not os.path.isdir(path):
        _make_folder(os.path.dirname(path))
        try:
            os.mkdir(path, 0o750)
        except FileExistsError:
            pass


def _copy(source: int, path: str, length: int) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.fchmod(target, 0o640)
        done = 0
        while done < length:
            data = os.pread(source, min(1 << 20, length - done), done)
            if not data:
                raise OSError(errno.EIO, "the log became shorter")
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
            done += len(data)
        os.fdatasync(target)
    finally:
        os.close(target)


def _collapse(fd: int, length: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = libc.fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(fd, _COLLAPSE_RANGE, 0, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
