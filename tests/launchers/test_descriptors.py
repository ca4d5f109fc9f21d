"""Families that are larger than the number of descriptors, and moments in which none is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from razar.engine.events import Exited
from razar.engine.recovery import Remains
from razar.launchers import descendants, descriptors, leftovers, procfs, reaper
from razar.launchers.local import LocalLauncher
from tests.support.components import Events, alive, launch_spec, read_pid, sh
from tests.support.descriptors import open_descriptors
from tests.support.waiting import until

#: Larger than the number of descriptors that the tests leave.
MANY = 60
#: So many processes that take no notice of TERM until there is a file ``end``; ``up`` says that all are there.
STUBBORN = f"""
    trap '' TERM
    i=0; while [ $i -lt {MANY} ]; do sleep 60 & echo $! >> pids; i=$((i+1)); done
    trap 'exit 0' TERM
    echo $$ > up; while :; do sleep 0.01; done
"""


@contextmanager
def limit(count: int) -> Iterator[None]:
    """Have a low limit of descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def none_left(reserve: bool = False) -> Iterator[None]:
    """Leave not a single descriptor, also of those that are kept for looking after processes."""
    held: list[int] = []
    while descriptors._reserve and not reserve:
        os.close(descriptors._reserve.pop())
    with limit(max(open_descriptors()) + 8):
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            yield
        finally:
            for fd in held:
                os.close(fd)
            descriptors.reserve(reaper._devnull)


def living(folder: Path) -> list[int]:
    return [pid for pid in map(int, (folder / "pids").read_text().split()) if alive(pid)]


async def test_a_family_larger_than_the_descriptors_has_not_ended_before_its_last_member(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, sh(STUBBORN)))
    first = await read_pid(tmp_path / "up")
    with limit(max(open_descriptors()) + 30):
        launcher.signal("crown_router", 1, "TERM")
        await until(lambda: not alive(first))
        family = launcher._living["crown_router"].family
        await until(lambda: family.child.status is not None and family._watched)
        assert len(family._watched) <= descendants.WATCHED
        assert events.of(Exited) == [] and len(living(tmp_path)) == MANY
        *_, last = launcher.holders("crown_router")
        assert last == f"{MANY - descendants.NAMED} more"
        launcher.kill("crown_router", 1)
        await events.exited()
    assert living(tmp_path) == []


async def test_without_a_descriptor_nobody_counts_as_gone(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """The first process ends while nobody can be looked for: its daemon is still there, and is found later."""
    script = "setsid sh -c 'echo $$ > pid; exec sleep 60' & read x < fifo"
    os.mkfifo(tmp_path / "fifo")
    launcher.ignite(launch_spec(tmp_path, sh(script)))
    daemon = await read_pid(tmp_path / "pid")
    family = launcher._living["crown_router"].family
    writer = os.open(tmp_path / "fifo", os.O_WRONLY)
    with none_left():
        os.close(writer)
        freed = os.open("/dev/null", os.O_RDONLY)
        try:
            await until(lambda: family.gone or (family.child.status is not None and family._missed))
            assert events.of(Exited) == [] and launcher.holders("crown_router")
        finally:
            os.close(freed)
    await events.exited()
    assert not alive(daemon)


async def test_a_signal_that_could_not_be_passed_on_is_passed_on_later(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """The first process waits for a member in another session, which must hear of the stop to end."""
    script = (
        "trap : TERM; setsid sh -c 'trap \"exit 0\" TERM; echo $$ > pid; while :; do sleep 0.01; done' & "
    )
    launcher.ignite(launch_spec(tmp_path, sh(script + "wait; wait")))
    member = await read_pid(tmp_path / "pid")
    await until(lambda: (entry := procfs.stat(member)) and entry.session == member)
    with none_left():
        launcher.signal("crown_router", 1, "TERM")
    await events.exited()
    assert not alive(member)


async def test_what_is_kept_for_it_is_enough_to_see_a_family_end(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """Else nobody's end could be seen, and no descriptor would ever be given back."""
    launcher.ignite(launch_spec(tmp_path, sh("setsid sh -c 'echo $$ > pid; exec sleep 60' & wait")))
    daemon = await read_pid(tmp_path / "pid")
    with none_left(reserve=True):
        launcher.signal("crown_router", 1, "TERM")
        await events.exited()
    assert not alive(daemon)


@pytest.mark.parametrize("look", [procfs.stat, procfs.children, procfs.environment])
def test_not_being_able_to_look_is_no_answer(look: object) -> None:
    with none_left(), pytest.raises(OSError, match="Too many open files"):
        look(os.getpid())  # type: ignore[operator]
    assert procfs.stat(1 << 22) is None and procfs.children(1 << 22) == []


async def test_more_leftovers_than_descriptors_are_all_asked_to_stop(tmp_path: Path) -> None:
    nonce = f"{os.urandom(8).hex()}-1"
    script = (
        f"i=0; while [ $i -lt {MANY} ]; do sleep 60 & echo $! >> pids; i=$((i+1)); done; echo $$ > up; wait"
    )
    left = subprocess.Popen(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "RAZAR_NONCE": nonce},
        start_new_session=True,
    )
    try:
        await read_pid(tmp_path / "up")
        found = leftovers.find(Remains([], frozenset({nonce.partition("-")[0]})))
        (processes,) = found.values()
        assert len(processes) == MANY + 1
        with limit(max(open_descriptors()) + 40):
            assert await leftovers.stop(processes, grace=20) == []
        assert living(tmp_path) == []
    finally:
        os.killpg(left.pid, signal.SIGKILL)
        left.wait()


def test_the_soft_limit_is_raised_as_far_as_asked_and_a_low_hard_one_is_told() -> None:
    program = """
import resource, subprocess, sys
from razar.launchers import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1000))
descriptors.widen(600)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600, 1000)
descriptors.widen(descriptors.ENOUGH)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, 1000)
child = subprocess.Popen(["sh", "-c", "read x; ulimit -Sn"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
descriptors.give_back(child.pid)
print(int(child.communicate(b"x\\n")[0]), descriptors.shortage(10), descriptors.shortage(200))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "256 None the hard limit of 1000 file descriptors is low for 200 components"
    )
    assert str(descriptors.need(200)) in done.stdout
