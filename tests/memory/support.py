"""Other processes at a memory file, and file systems with little room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["FIRST", "finish", "plain_user", "run", "small_disk", "start"]

#: A file as the first version of the memory made it.
FIRST = """
PRAGMA journal_mode = WAL;
CREATE TABLE record (id INTEGER PRIMARY KEY, layer TEXT NOT NULL, text TEXT NOT NULL,
                     metadata TEXT NOT NULL DEFAULT '{}', created REAL NOT NULL);
CREATE INDEX record_layer ON record (layer, created);
PRAGMA user_version = 1;
"""


def start(script: str, *arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Run a script in another process; its standard input and output are pipes."""
    command = [*before, sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], line: str = "", timeout: float = 30) -> str:
    """Tell it this, and wait until it ends well; return what it still had to say."""
    try:
        out, err = process.communicate(line, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, err
    return out


def run(script: str, *arguments: str | Path, before: tuple[str, ...] = ()) -> str:
    """Run a script in another process to its end; return what it said."""
    return finish(start(script, *arguments, before=before))


def plain_user() -> tuple[str, ...]:
    """What to put before a command so that permissions count, for root too."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("as root, permissions count only with setpriv (util-linux)")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a small file system needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
