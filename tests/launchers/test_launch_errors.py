"""A program that cannot be started: each reason is one sentence for people."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from razar.config.model import Limits
from razar.launchers.base import LaunchError
from razar.launchers.local import LocalLauncher
from tests.support.components import Events, launch_spec


def _script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "start.sh"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def _refused(launcher: LocalLauncher, folder: Path, argv: tuple[str, ...], **changes: object) -> str:
    with pytest.raises(LaunchError) as error:
        launcher.ignite(launch_spec(folder, argv, **changes))
    return str(error.value)


async def test_program_that_is_nowhere(launcher: LocalLauncher, tmp_path: Path) -> None:
    assert "there is no such program on PATH (/bin:/x)" in _refused(
        launcher, tmp_path, ("nope",), env={"PATH": "/bin:/x"}
    )
    assert f"there is no file {tmp_path}/nope" in _refused(launcher, tmp_path, ("./nope",))


async def test_program_without_permission(launcher: LocalLauncher, tmp_path: Path) -> None:
    path = _script(tmp_path, "#!/bin/sh\n", 0o644)
    assert f"it is not executable (chmod +x {path})" in _refused(launcher, tmp_path, (path,))


async def test_folder_as_program(launcher: LocalLauncher, tmp_path: Path) -> None:
    assert "it is a folder" in _refused(launcher, tmp_path, (str(tmp_path),))


async def test_script_without_first_line(launcher: LocalLauncher, tmp_path: Path) -> None:
    assert "no script with a #! line" in _refused(launcher, tmp_path, (_script(tmp_path, "echo hi\n"),))


async def test_script_whose_interpreter_is_missing(launcher: LocalLauncher, tmp_path: Path) -> None:
    path = _script(tmp_path, "#!/opt/nowhere/python3 -u\n")
    assert "its first line names /opt/nowhere/python3, which does not exist" in _refused(
        launcher, tmp_path, (path,)
    )


async def test_command_on_path_whose_interpreter_is_missing(launcher: LocalLauncher, tmp_path: Path) -> None:
    """What a console script says after its environment was moved."""
    _script(tmp_path, "#!/old/venv/bin/python\n")
    assert "its first line names /old/venv/bin/python, which does not exist" in _refused(
        launcher, tmp_path, ("start.sh",), env={"PATH": str(tmp_path)}
    )


async def test_working_folder_that_is_missing(launcher: LocalLauncher, tmp_path: Path) -> None:
    folder = str(tmp_path / "gone")
    assert f"the working folder {folder} does not exist" in _refused(
        launcher, tmp_path, ("true",), cwd=folder
    )


async def test_arguments_that_are_too_long(launcher: LocalLauncher, tmp_path: Path) -> None:
    assert "larger than the kernel takes" in _refused(launcher, tmp_path, ("true", "x" * (1 << 20)))


async def test_arguments_with_a_nul(launcher: LocalLauncher, tmp_path: Path) -> None:
    assert "hold a character no program can be given" in _refused(launcher, tmp_path, ("true", "a\0b"))


async def test_no_descriptor_left(launcher: LocalLauncher, events: Events, tmp_path: Path) -> None:
    launcher.ignite(launch_spec(tmp_path, ("true",)))
    await events.exited()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        os.close(held.pop())  # Enough for the log, not for the process.
        assert "all 256 file descriptors are in use" in _refused(launcher, tmp_path, ("true",))
        held.append(os.open("/dev/null", os.O_RDONLY))
        assert "cannot open the log" in _refused(launcher, tmp_path, ("true",))
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_log_that_is_no_file(launcher: LocalLauncher, tmp_path: Path) -> None:
    fifo = tmp_path / "current.log"
    os.mkfifo(fifo)
    assert "is not a regular file" in _refused(launcher, tmp_path, ("true",), log=str(fifo))
    (tmp_path / "file").write_text("")
    assert "cannot open the log" in _refused(
        launcher, tmp_path, ("true",), log=str(tmp_path / "file" / "c.log")
    )


async def test_limit_above_what_the_user_may_have(launcher: LocalLauncher, tmp_path: Path) -> None:
    limits = Limits(files=1 << 40)
    assert "cannot limit files to 1099511627776" in _refused(
        launcher, tmp_path, ("sleep", "60"), limits=limits
    )
    assert launcher.holders("crown_router") == []


async def test_failed_launch_leaves_the_component_free(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    _refused(launcher, tmp_path, ("nope",))
    launcher.ignite(launch_spec(tmp_path, ("true",), incarnation=2))
    assert (await events.exited()).incarnation == 2
