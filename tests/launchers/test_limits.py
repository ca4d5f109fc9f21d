"""Resource limits hold for the component and everything it starts."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from razar.config.model import Limits
from razar.launchers.base import LaunchError
from razar.launchers.local import LocalLauncher
from tests.support.components import Events, launch_spec, python, sh


async def test_limits_are_in_place_and_inherited(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    script = """
        grep -E 'data size|open files|processes' /proc/self/limits | sed -E 's/ +/ /g'
    """
    limits = Limits(memory=512 << 20, files=77, processes=1234)
    launcher.ignite(launch_spec(tmp_path, sh(script), limits=limits))
    lines = (await events.exited()).tail
    assert [line.strip() for line in lines] == [
        "Max data size 536870912 536870912 bytes",
        "Max processes 1234 1234 processes",
        "Max open files 77 77 files",
    ]


async def test_memory_limit_is_felt(launcher: LocalLauncher, events: Events, tmp_path: Path) -> None:
    script = """
        try:
            bytearray(300 << 20)
        except MemoryError:
            print("refused")
    """
    launcher.ignite(launch_spec(tmp_path, python(script), limits=Limits(memory=200 << 20)))
    assert (await events.exited()).tail == ("refused",)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
async def test_cpu_limit_is_a_number_of_processors(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    script = "import os; print(len(os.sched_getaffinity(0)))"
    launcher.ignite(launch_spec(tmp_path, sh("exec nproc"), limits=Limits(cpu=0.5)))
    assert (await events.exited()).tail == ("1",)
    launcher.ignite(launch_spec(tmp_path, python(script), limits=Limits(cpu=4096), incarnation=2))
    assert (await events.exited(2)).tail == (str(len(os.sched_getaffinity(0))),)


async def test_errors_are_those_of_a_program_without_limits(launcher: LocalLauncher, tmp_path: Path) -> None:
    for argv, text in (
        (("nope",), "there is no such program on PATH"),
        (("./nope",), f"there is no file {tmp_path}/nope"),
        ((str(tmp_path),), "it is a folder"),
    ):
        with pytest.raises(LaunchError, match=re.escape(text)):
            launcher.ignite(launch_spec(tmp_path, argv, limits=Limits(files=64)))


async def test_program_behind_the_gate_has_the_usual_streams(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    script = "readlink /proc/self/fd/0; cat; ls /proc/self/fd | wc -l; exit 4"
    started = launcher.ignite(launch_spec(tmp_path, sh(script), limits=Limits(files=64)))
    exited = await events.exited()
    assert (exited.code, exited.tail) == (4, ("/dev/null", "4"))
    assert started.start_time > 0
