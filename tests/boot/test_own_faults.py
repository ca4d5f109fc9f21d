"""Faults of RAZAR itself, and moments without descriptors: told in bounded words, and never the end of a mission."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from razar.boot.own_faults import LoopFaults, describe
from tests.boot.mission import REPOSITORY, Mission, service
from tests.support.waiting import until_sync

Make = Callable[..., Mission]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (f"OSError({errno.EMFILE}, 'Too many open files')", "cannot be started: Too many open files"),
        ("RuntimeError('odd')", "cannot be started: RuntimeError in RAZAR; see its log"),
    ],
)
def test_a_launch_that_fails_in_an_unexpected_way_is_a_failed_launch(
    mission: Make, fault: str, told: str
) -> None:
    """The mission can be stopped afterwards, and the component is tried again."""
    one = mission(service("a"), service("b", health={"notify": True}, retries=1), ignition="parallel")
    one.program(
        "from razar.probes import notify_socket\n"
        "class Socket(notify_socket.NotifySocket):\n"
        f"    def __init__(self): raise {fault}\n"
        "notify_socket.NotifySocket = Socket\n",
    )
    one.start()
    one.wait_for_state("b", "quarantined")
    assert one.component("b")["incarnation"] == 2 and told in one.component("b")["error"]
    assert one.stop() == 1
    assert "Traceback" not in one.err
    assert one.processes() == []
    if "RuntimeError" in fault:
        assert any("a fault in RAZAR: the launch of b: RuntimeError: odd (" in line for line in one.log)


def test_a_supervisor_outlives_a_time_without_descriptors(mission: Make) -> None:
    """Clients that cannot be taken are told of in a few lines, not in thousands."""
    one = mission(service("a")).start()
    assert one.process is not None
    pid = one.process.pid
    one.wait_for_state("a", "running")
    path = one.logs / "razar.sock"
    until_sync(path.exists)
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    # The lowest limit: whatever is open stays open, and nothing more can be opened.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        until_sync(lambda: any("socket.accept() out of system resource" in line for line in one.log))
        until_sync(lambda: any("times by now" in line for line in one.log))
        assert one.process.poll() is None
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert one.stop() == 0
    assert len(one.log) < 40 and "Traceback" not in one.err


def test_a_callback_that_raises_without_descriptors_does_not_end_the_loop() -> None:
    """asyncio loads ``inspect`` to tell of it, which RAZAR has put off."""
    code = """
from razar.utils.deferral import defer_costly
defer_costly()
import asyncio, resource, sys
told = []
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context["message"]))
    done = loop.create_future()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 1024))
    loop.call_soon(int, "x")
    loop.call_soon(done.set_result, None)
    await done
asyncio.run(main())
assert len(told) == 1 and "int" in told[0], told
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
import inspect
assert inspect.signature(main) and inspect.isfunction(main)
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "ok", done.stderr


def test_a_fault_that_comes_often_is_told_ever_more_rarely() -> None:
    lines: list[str] = []
    faults = LoopFaults(lambda level, text: lines.append(text))
    loop: object = None
    for number in range(1000):
        try:
            os.open(os.devnull, -1)
        except OSError as error:
            faults(loop, {"message": f"callback {number}", "exception": error})  # type: ignore[arg-type]
    assert [line.partition("times")[0].rpartition("(")[2].strip() for line in lines[1:]] == [
        "10",
        "100",
        "1000",
    ]
    assert "boot/test_own_faults.py:" in lines[0]
    for number in range(1000):
        faults(loop, {"message": f"kind {number}"})  # type: ignore[arg-type]
    assert len(lines) < 120


def test_a_description_names_the_innermost_places() -> None:
    try:
        int("x")
    except ValueError as error:
        text = describe(error)
    assert text.startswith("ValueError: invalid literal") and text.endswith(")") and "\n" not in text
