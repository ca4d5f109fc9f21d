"""A path: the file exists and was written after this launch."""

from __future__ import annotations

import os

from razar.config.model import Probe
from razar.probes.base import PASSED, Answer, Check, FileStamp, ProbeError

__all__ = ["FileCheck", "file_stamp"]

_SECOND = 1_000_000_000


def file_stamp(probe: Probe) -> FileStamp | None:
    """Take the stamp of a file probe's file, to be compared after the launch; None if there is none."""
    if probe.kind != "file":
        return None
    try:
        return _stamp(os.stat(probe.target))
    except OSError:
        return None


class FileCheck(Check):
    """A file left by an earlier incarnation does not count."""

    keeps_time = True

    async def attempt(self) -> Answer:
        path = self.probe.target
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise ProbeError(f"{path} does not exist") from None
        except OSError as error:
            raise ProbeError(f"cannot look at {path}: {error.strerror}") from None
        launched = self.target.launched_ns
        if found.st_mtime_ns % _SECOND == 0:
            launched -= launched % _SECOND  # A file system that keeps no fractions.
        if found.st_mtime_ns < launched or _stamp(found) == self.target.before:
            raise ProbeError(f"{path} exists, but was not written since this launch")
        return PASSED


def _stamp(found: os.stat_result) -> FileStamp:
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
