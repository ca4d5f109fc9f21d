"""Helper commands: bounded in time, output and offspring."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from razar.launchers import processes
from razar.launchers.base import LaunchError
from razar.launchers.descendants import kill_strays
from razar.launchers.processes import run
from tests.support.components import alive, python, read_pid, sh
from tests.support.descriptors import none_left_open
from tests.support.waiting import until

#: Seconds after which a command is ended that must have got somewhere until then; the next if it has not.
LIMITS = (0.3, 3.0, 30.0)


async def test_output_of_both_streams_is_captured_in_order() -> None:
    done = await run(sh("echo one; echo two >&2; echo three; exit 3"), capture=True)
    assert done == processes.Completed(code=3, signal=None, output=b"one\ntwo\nthree\n", timed_out=False)


async def test_lines_are_handed_over_as_they_come() -> None:
    lines: list[str] = []
    task = asyncio.ensure_future(run(sh("printf 'one\\r\\ntw'; sleep 60"), on_line=lines.append))
    await until(lambda: lines == ["one"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lines == ["one", "tw"]


async def test_very_long_output_is_bounded() -> None:
    lines: list[str] = []
    script = "import os; os.write(1, b'x' * (3 << 20)); os.write(1, b'\\nend\\n')"
    done = await run(python(script), capture=True, on_line=lines.append)
    assert len(done.output) == processes.OUTPUT_LIMIT
    assert done.output.endswith(b"x\nend\n")
    assert [len(line) for line in lines] == [processes.LINE_LIMIT, 3]


async def test_output_goes_to_a_file_and_is_captured_too(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        assert (await run(sh("echo quiet"), stdout=file)).output == b""
        assert (await run(sh("echo loud"), stdout=file, capture=True)).output == b"loud\n"
    assert (tmp_path / "log").read_bytes() == b"quiet\nloud\n"


async def test_surroundings(tmp_path: Path) -> None:
    done = await run(
        sh("pwd; echo $A; readlink /proc/self/fd/0"), cwd=str(tmp_path), env={"A": "b"}, capture=True
    )
    assert done.output.decode().splitlines() == [str(tmp_path), "b", "/dev/null"]


async def test_signal_is_named() -> None:
    done = await run(sh("kill -KILL $$"))
    assert (done.code, done.signal, done.timed_out) == (None, "KILL", False)


async def test_timeout_ends_everything_that_was_started(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ > pid; setsid sh -c 'echo $$ > other; exec sleep 60' & sleep 60; sleep 60"
    for timeout in LIMITS:
        done = await run(sh(script), cwd=str(tmp_path), timeout=timeout, grace=0.05)
        if (tmp_path / "pid").exists() and (tmp_path / "other").exists():
            break
    assert (done.code, done.signal, done.timed_out) == (None, "KILL", True)
    assert not alive(await read_pid(tmp_path / "pid"))
    assert not alive(await read_pid(tmp_path / "other"))


async def test_timeout_asks_before_it_kills() -> None:
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    for timeout in LIMITS:
        done = await run(sh(script), timeout=timeout, grace=10, capture=True)
        if done.output:
            break
    assert (done.code, done.output.splitlines()[-1], done.timed_out) == (0, b"bye", True)


async def test_cancellation_ends_everything_that_was_started(tmp_path: Path) -> None:
    task = asyncio.ensure_future(run(sh("setsid sleep 60 & echo $! > pid; wait"), cwd=str(tmp_path)))
    pid = await read_pid(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


async def test_second_cancellation_kills_at_once(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ > pid; while :; do sleep 60; done"
    task = asyncio.ensure_future(run(sh(script), cwd=str(tmp_path), grace=60))
    pid = await read_pid(tmp_path / "pid")
    task.cancel()
    await asyncio.wait([task], timeout=0.02)
    assert alive(pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not alive(pid))


async def test_nothing_is_left_behind_by_a_command_that_succeeded(tmp_path: Path) -> None:
    done = await run(sh("setsid sleep 60 & echo $! > pid"), cwd=str(tmp_path), capture=True)
    assert done.code == 0
    assert not alive(await read_pid(tmp_path / "pid"))


async def test_what_is_left_behind_may_be_kept(tmp_path: Path) -> None:
    """Holding the pipe open, the child must not keep the command from being seen to end."""
    script = "sleep 60 & echo $! > pid; echo done"
    done = await run(sh(script), cwd=str(tmp_path), capture=True, sweep=False)
    pid = await read_pid(tmp_path / "pid")
    try:
        assert (done.code, done.output) == (0, b"done\n")
        assert alive(pid)
        await until(lambda: not kill_strays()[1])
        assert alive(pid)
    finally:
        os.kill(pid, 9)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("nope",), "cannot start 'nope': there is no such program on PATH"),
        (("/etc",), "it is a folder"),
        (("true", "\0"), "hold a character no program can be given"),
    ],
)
async def test_command_that_cannot_be_started(argv: tuple[str, ...], text: str) -> None:
    with none_left_open(), pytest.raises(LaunchError, match=re.escape(text)):
        await run(argv, capture=True)


async def test_no_descriptors_and_no_children_remain() -> None:
    await run(("true",))
    with none_left_open():
        await asyncio.gather(*(run(sh(f"echo {n}"), capture=True) for n in range(20)))


async def test_two_hundred_at_once() -> None:
    done = await asyncio.gather(*(run(("sh", "-c", f"exit {n}")) for n in range(200)))
    assert [each.code for each in done] == list(range(200))


async def test_child_ends_are_seen_although_sigchld_is_ignored() -> None:
    """A parent that ignored SIGCHLD hands that on, and the kernel would throw the statuses away."""
    script = """
        import asyncio, signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from razar.launchers.processes import run
        print(asyncio.run(run(("sh", "-c", "exit 9"))).code)
    """
    done = await run((sys.executable, "-c", textwrap.dedent(script)), capture=True)
    assert done.output == b"9\n"
