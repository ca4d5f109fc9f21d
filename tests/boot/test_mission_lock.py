"""One supervisor for one mission: also beside commands, after kills, and when the logs folder is taken away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import pytest

from razar.boot import mission_name
from razar.boot.control_endpoint import ControlEndpoint
from razar.boot.logs_guard import LogsGuard
from razar.boot.mission_lock import AlreadyRunningError, BusyError, MissionLock
from razar.control.server import ControlServer
from razar.operator.no_boot import no_boot
from tests.boot.mission import REPOSITORY, Mission, service
from tests.commands.support import component, house
from tests.support.waiting import until, until_sync

Make = Callable[..., Mission]


def running(mission: Make) -> Mission:
    """A mission that can be controlled."""
    one = mission(service("a")).start()
    one.wait_for_state("a", "running")
    until_sync((one.logs / "razar.sock").exists)
    return one


def second_boot(one: Mission, *options: str) -> None:
    """A second supervisor is refused."""
    assert one.process is not None
    done = one.run("razar.boot_orchestrator", "--mission", "demo", *options)
    assert done.returncode == 5 and f"pid {one.process.pid} already runs" in done.stderr, done.stderr


def test_a_mission_whose_logs_were_removed_is_found_and_stopped(mission: Make) -> None:
    one = running(mission)
    assert one.process is not None
    one.logs.rename(one.folder / "trash")  # In one step: who writes there meanwhile must not fail the test.
    shutil.rmtree(one.folder / "trash", ignore_errors=True)
    second_boot(one)
    assert f"(pid {one.process.pid}," in one.run("razar", "status").stdout
    until_sync(lambda: "was moved or removed while the mission runs" in one.err)
    assert one.err.count("was moved or removed") == 1
    assert one.run("razar", "restart", "a").returncode == 0
    second_boot(one)
    assert one.run("razar", "stop").returncode == 0
    assert one.wait() == 0 and one.processes() == []
    assert (one.logs / "razar.lock").read_text() == "" and one.state["components"][0]["state"] == "stopped"


class Attempts(MissionLock):
    """Counts how often it was tried to make it anew."""

    number = 0

    def restore(self) -> bool:
        self.number += 1
        return super().restore()


@asynccontextmanager
async def moved(tmp_path: Path) -> AsyncIterator[tuple[LogsGuard, Attempts, list[str], TextIO]]:
    """A guard whose logs folder was moved, and a new lock that somebody holds: until the file is closed."""
    logs = tmp_path / "logs"
    logs.mkdir()
    lock = Attempts(str(logs / "razar.lock"))
    lock.acquire()
    told: list[str] = []

    async def renew(_: bool) -> None:
        told.append("renewed")

    guard = LogsGuard(str(logs), lock, renew=renew, say=lambda _, text: told.append(text))
    logs.rename(tmp_path / "trash")
    logs.mkdir()
    with (logs / "razar.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        yield guard, lock, told, other
    await guard.close()
    lock.release()


async def test_a_new_lock_that_others_hold_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """A second boot before it is refused, say, or a command that looks who has it."""
    async with moved(tmp_path) as (guard, lock, told, other):
        with pytest.raises(AlreadyRunningError) as refused:
            MissionLock(str(tmp_path / "logs" / "razar.lock")).acquire()
        assert refused.value.pid == os.getpid()
        guard.start()
        await until(lambda: lock.number > 1)
        assert told == []
        other.close()
        await until(lambda: len(told) == 2)
        assert told[0] == "renewed" and "are made anew" in told[1]


async def test_a_new_lock_that_others_keep_is_told(tmp_path: Path) -> None:
    async with moved(tmp_path) as (guard, _, told, _other):
        guard.start()
        await until(lambda: told)
        assert "is not the folder it was, and another process holds its lock now" in told[0]


def test_a_mission_whose_logs_were_moved_holds_both_folders(mission: Make) -> None:
    """The old folder's journal tells of processes that are not left over."""
    one = running(mission)
    (one.folder / "elsewhere").mkdir()
    one.logs.rename(one.folder / "old")
    one.logs.symlink_to("elsewhere")
    until_sync((one.logs / "razar.sock").exists)
    second_boot(one)
    second_boot(one, "--logs", "old")
    assert one.run("razar", "stop").returncode == 0
    assert one.wait() == 0 and one.processes() == []
    assert (one.folder / "old" / "razar.lock").read_text() == ""


def test_a_control_socket_that_was_removed_is_made_anew(mission: Make) -> None:
    one = running(mission)
    (one.logs / "razar.sock").unlink()
    until_sync((one.logs / "razar.sock").exists)
    assert one.run("razar", "stop").returncode == 0
    assert one.wait() == 0 and "moved or removed" not in one.err


async def test_a_control_socket_that_is_being_opened_when_the_boot_ends_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    async with house(tmp_path / "house", component("a")) as mission:
        lock = MissionLock(str(tmp_path / "razar.lock"))
        lock.acquire()
        server = ControlServer(
            mission.runtime,
            path=str(tmp_path / "razar.sock"),
            holders=lambda _: [],
            on_stop=lambda: None,
            release=lambda _, __: False,
        )
        endpoint = ControlEndpoint(
            server, str(tmp_path), lock, moved=lambda: None, say=lambda _, text: pytest.fail(text)
        )
        opening = asyncio.create_task(endpoint.open())
        await asyncio.sleep(0)  # Up to where it waits.
        assert (tmp_path / "razar.sock").exists() and not opening.done()
        await endpoint.close()
        await opening
        assert not (tmp_path / "razar.sock").exists()
        lock.release()


def test_a_boot_waits_for_a_command_that_is_at_work(mission: Make) -> None:
    """`razar stop` of a mission that was killed, say."""
    one = mission(service("a"))
    one.logs.mkdir()
    (one.logs / "razar.lock").write_text("999999\n")
    with no_boot(str(one.logs)):
        one.start("--exit-after-boot")
        until_sync(lambda: "a razar command is at work" in one.err)
        assert one.process is not None and one.process.poll() is None and one.out == ""
    assert one.wait() == 0 and "999999" not in one.err


def test_a_boot_that_waits_can_be_interrupted(mission: Make) -> None:
    one = mission(service("a"))
    one.logs.mkdir()
    with no_boot(str(one.logs)):
        one.start()
        until_sync(lambda: "a razar command is at work" in one.err)
        assert one.stop(signal.SIGINT) == 130


def test_a_command_that_takes_too_long_is_told_apart_from_a_supervisor(tmp_path: Path) -> None:
    path = str(tmp_path / "razar.lock")
    with no_boot(str(tmp_path)), no_boot(str(tmp_path)), pytest.raises(BusyError):
        MissionLock(path).acquire(patience=0)
    lock = MissionLock(path)
    lock.acquire()
    with pytest.raises(AlreadyRunningError) as refused:
        MissionLock(path).acquire()
    assert refused.value.pid == os.getpid()
    with pytest.raises(AlreadyRunningError), no_boot(str(tmp_path)):
        pass
    lock.release()
    assert MissionLock.holder(path) is None


def killed(path: Path, boot: str, machine: str) -> None:
    """A supervisor takes the lock and is killed."""
    code = f"""
import os
from razar.boot.mission_lock import MissionLock
lock = MissionLock({str(path)!r})
lock.acquire({boot!r}, {machine!r})
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_boots_that_were_killed_are_remembered_until_their_processes_are_stopped(tmp_path: Path) -> None:
    path = tmp_path / "razar.lock"
    killed(path, "a", "before")
    for number in range(100):
        fd = os.open(path, os.O_RDWR)
        lines = path.read_text().splitlines()
        os.write(fd, "\n".join([lines[0], f"boot b{number} now", *lines[1:60]]).encode())
        os.close(fd)
    killed(path, "b", "now")
    assert path.stat().st_size < 4096
    lock = MissionLock(str(path))
    lock.acquire("c", "now")
    assert lock.unclean and {"b", "b99"} < lock.earlier and not {"a", "c"} & lock.earlier
    lock.forget_earlier()
    assert lock.earlier == frozenset() and path.read_text() == f"{os.getpid()}\nboot c now\n"
    lock.release(clean=False)
    again = MissionLock(str(path))
    again.acquire("d", "now")
    assert again.earlier == {"c"}
    again.release()


@pytest.mark.parametrize(
    "text", [b"", b"4711\n", b"4711\nboot\nboot x\n\xff\xfe\nboot y now z\n", b"\0" * 4096]
)
def test_a_lock_of_another_form_is_taken_as_it_is(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "razar.lock"
    path.write_bytes(text)
    lock = MissionLock(str(path))
    lock.acquire("a", "now")
    assert lock.unclean is bool(text) and lock.earlier == frozenset()
    lock.release()


def test_a_stranger_who_takes_the_name_keeps_nobody_from_booting(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("another user is needed")
    logs = tmp_path / "logs"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as squatter:
        name = mission_name._name(str(logs))
        os.seteuid(65534)
        try:
            squatter.bind(name)
            squatter.listen()
        finally:
            os.seteuid(0)
        assert mission_name.holder(str(logs)) is None and mission_name.take(str(logs)) is None
    logs.mkdir()
    lock = MissionLock(str(logs / "razar.lock"))
    lock.acquire()
    with (logs / "razar.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()
