"""A file that one process appends lines to, and that never stands in its way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from razar.utils import files

__all__ = ["LineFile"]

#: Bytes of lines kept in memory while the disk takes none; beyond them the oldest are lost.
BACKLOG = 16 * 1024 * 1024
#: How far back the beginning of a torn last line is looked for.
_REACH = 1024 * 1024


class LineFile:
    """Lines are written before ``append`` returns, in one write.

    A write that fails (full disk, I/O error) is told once through ``report`` and undone; the lines
    are kept and written with the next ones. ``header`` gives the first lines of every new file. A file
    that was removed or renamed by somebody else is begun anew. ``whole`` decides whether a last
    line without a newline, left by a kill, is a line all the same; if not, it is cut off.
    """

    def __init__(
        self,
        path: str,
        *,
        header: Callable[[], bytes] = bytes,
        whole: Callable[[bytes], bool] = lambda line: True,
        report: Callable[[str], None] | None = None,
        backlog: int = BACKLOG,
    ) -> None:
        self.path = path
        self.lost = 0
        self.size = 0
        self._header = header
        self._whole = whole
        self._report = report
        self._limit = backlog
        self._backlog: deque[bytes] = deque()
        self._backlog_size = 0
        self._fd = -1
        self._identity = (0, 0)
        self._failing = False
        self._torn = False

    @property
    def waiting(self) -> int:
        """How many appended pieces are not in the file yet."""
        return len(self._backlog)

    def append(self, line: bytes) -> bool:
        """Append one line or several, each ending in a newline; False if they are only in memory."""
        self._backlog.append(line)
        self._backlog_size += len(line)
        while self._backlog_size > self._limit and len(self._backlog) > 1:
            oldest = self._backlog.popleft()
            self._backlog_size -= len(oldest)
            self.lost += oldest.count(b"\n")
        return self.flush()

    def flush(self) -> bool:
        """Write what is kept in memory; False if the disk still refuses it."""
        if not self._backlog:
            return True
        data = self._backlog[0] if len(self._backlog) == 1 else b"".join(self._backlog)
        try:
            self.open()
            self._write(data)
        except OSError as fault:
            if not self._failing:
                self._failing = True
                self._tell(f"{self.path} cannot be written: {files.why(fault)}; its lines are kept in memory")
            return False
        self._backlog.clear()
        self._backlog_size = 0
        if self._failing:
            self._failing = False
            lost = f"; {self.lost} lines were lost" if self.lost else ""
            self._tell(f"{self.path} is written again{lost}")
            self.lost = 0
        return True

    def open(self) -> None:
        """Open the file if that is due, and mend its end. Raises OSError."""
        if self._fd >= 0 and self._still_there():
            return
        self.close()
        # A pipe that nobody empties is a file that cannot be written, not a reason to wait.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self.path, flags, files.MODE)
        try:
            status = os.fstat(fd)
            self.size = status.st_size
            if self.size == 0:
                os.fchmod(fd, files.MODE)
            else:
                self._mend(fd)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._identity = (status.st_dev, status.st_ino)

    def close(self) -> None:
        """Release the file; what could not be written stays in memory."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def duplicate(self) -> int | None:
        """A descriptor of the open file for a worker thread, which closes it; None if none is open. Raises OSError."""
        return os.dup(self._fd) if self._fd >= 0 else None

    def _still_there(self) -> bool:
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _write(self, data: bytes) -> None:
        if self.size == 0:
            data = self._header() + data
        elif self._torn:
            data = b"\n" + data
        try:
            files.write_all(self._fd, data)
        except OSError:
            # Half a line must not stay, the whole one will be written again.
            try:
                os.ftruncate(self._fd, self.size)
            except OSError:
                self._torn = True
                self.size = os.fstat(self._fd).st_size
            raise
        self.size += len(data)
        self._torn = False

    def _mend(self, fd: int) -> None:
        self._torn = False
        if os.pread(fd, 1, self.size - 1) == b"\n":
            return
        start = max(0, self.size - _REACH)
        tail = os.pread(fd, self.size - start, start)
        newline = tail.rfind(b"\n")
        if (newline < 0 and start > 0) or self._whole(tail[newline + 1 :]):
            self._torn = True
            return
        end = start + newline + 1
        os.ftruncate(fd, end)
        self._tell(f"{self.path}: an unfinished last line of {self.size - end} bytes was cut off")
        self.size = end

    def _tell(self, message: str) -> None:
        if self._report is not None:
            self._report(message)
