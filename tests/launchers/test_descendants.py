"""Whatever a component starts ends with it, however it hides."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from razar.engine.events import Exited
from razar.launchers import descendants, processes, procfs, reaper
from razar.launchers.local import LocalLauncher
from tests.support.components import Events, alive, launch_spec, python, read_pid, sh
from tests.support.waiting import until, until_sync

#: A daemon as daemon(3) makes one: two forks, a session of its own, no terminal.
DAEMON = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open("pid.new", "w") as file:
                file.write(str(os.getpid()))
            os.rename("pid.new", "pid")
            time.sleep(60)
        os._exit(0)
    os.wait()
    while not os.path.exists("pid"):
        time.sleep(0.001)
"""


def zombies() -> list[int]:
    entries = map(procfs.stat, procfs.children(os.getpid()))
    return [entry.pid for entry in entries if entry is not None and entry.ended]


async def test_grandchild_in_own_session_is_killed(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, sh("setsid sleep 60 & echo $! > pid; wait")))
    grandchild = await read_pid(tmp_path / "pid")
    await until(lambda: (entry := procfs.stat(grandchild)) and entry.session == grandchild)
    launcher.kill("crown_router", 1)
    await events.exited()
    assert not alive(grandchild)


async def test_daemonised_descendant_is_reaped(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """A daemon's parents have ended: nothing but its environment says where it came from."""
    launcher.ignite(launch_spec(tmp_path, python(DAEMON + "\n    time.sleep(60)")))
    daemon = await read_pid(tmp_path / "pid")
    await until(lambda: (entry := procfs.stat(daemon)) and entry.ppid == os.getpid())
    launcher.kill("crown_router", 1)
    await events.exited()
    assert not alive(daemon)
    reaper.adopted()
    assert procfs.stat(daemon) is None


async def test_main_process_that_daemonises_does_not_leave_its_daemon(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, python(DAEMON)))
    assert (await events.exited()).code == 0
    assert not alive(await read_pid(tmp_path / "pid"))


async def test_child_that_changed_its_group_is_killed(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    script = """
        import os, time
        if os.fork() == 0:
            os.setpgid(0, 0)
            with open("pid.new", "w") as file:
                file.write(str(os.getpid()))
            os.rename("pid.new", "pid")
        time.sleep(60)
    """
    launcher.ignite(launch_spec(tmp_path, python(script)))
    child = await read_pid(tmp_path / "pid")
    await until(lambda: (entry := procfs.stat(child)) and entry.pgrp == child)
    launcher.kill("crown_router", 1)
    await events.exited()
    assert not alive(child)


async def test_signal_reaches_every_descendant_once(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """A second TERM makes many programs give up their orderly end."""
    script = """
        trap 'echo term $1 >> got' TERM
        echo $1 >> up
        i=0; while [ $i -lt 600 ] && ! [ -e end ]; do sleep 0.02 & wait $!; i=$((i+1)); done
    """
    (tmp_path / "part.sh").write_text(script)
    main = "sh part.sh child & setsid sh part.sh session & sh part.sh main; wait"
    launcher.ignite(launch_spec(tmp_path, sh(f"trap : TERM; {main}")))
    await until(lambda: (tmp_path / "up").exists() and len((tmp_path / "up").read_text().split()) == 3)
    launcher.signal("crown_router", 1, "TERM")
    got = tmp_path / "got"
    await until(lambda: got.exists() and len(got.read_text().splitlines()) >= 3)
    assert sorted(got.read_text().splitlines()) == ["term child", "term main", "term session"]
    (tmp_path / "end").touch()
    await events.exited()
    assert sorted(got.read_text().splitlines()) == ["term child", "term main", "term session"]


async def test_exit_is_reported_only_when_all_are_gone(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """After a stop the rest is not killed while the grace period lasts."""
    script = "setsid sh -c 'trap : TERM; echo $$ > pid; while ! [ -e end ]; do sleep 0.01; done' & wait"
    started = launcher.ignite(launch_spec(tmp_path, sh(script)))
    grandchild = await read_pid(tmp_path / "pid")
    launcher.signal("crown_router", 1, "TERM")
    await until(lambda: not alive(started.pid))
    await until(lambda: (entry := procfs.stat(grandchild)) and entry.ppid == os.getpid())
    assert events.of(Exited) == []
    assert any(f"pid {grandchild} " in holder for holder in launcher.holders("crown_router"))
    (tmp_path / "end").touch()
    assert (await events.exited()).signal == "TERM"


async def test_late_descendant_gets_the_signal_too(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """A helper started by the main process in answer to TERM is asked to stop as well."""
    helper = "setsid sh -c 'echo $$ > helper; exec sleep 60' &"
    script = f"""
        late() {{ {helper} while ! [ -s helper ]; do sleep 0.01; done; exit 0; }}
        trap late TERM; echo $$ > pid; while :; do sleep 0.01; done
    """
    launcher.ignite(launch_spec(tmp_path, sh(script)))
    await read_pid(tmp_path / "pid")
    launcher.signal("crown_router", 1, "TERM")
    assert (await events.exited()).code == 0


async def test_kill_after_the_main_process_has_ended(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    started = launcher.ignite(
        launch_spec(tmp_path, sh("sh -c 'trap \"\" TERM; echo $$ > pid; sleep 60 & wait; sleep 60' & wait"))
    )
    child = await read_pid(tmp_path / "pid")
    launcher.signal("crown_router", 1, "TERM")
    await until(lambda: not alive(started.pid))
    assert alive(child)
    launcher.kill("crown_router", 1)
    assert (await events.exited()).signal == "TERM"
    assert not alive(child)


async def test_rest_of_the_session_is_known_without_marks(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """No nonce, another group, no living parent, never seen before: the session is enough."""
    script = """
        import os, time
        if os.fork() == 0:
            if os.fork():
                os._exit(0)
            os.setpgid(0, 0)
            os.execve("/bin/sh", ["sh", "-c", "echo $$ > pid; exec sleep 60"], {"PATH": os.defpath})
        os.wait()
        while not os.path.exists("pid"):
            time.sleep(0.001)
    """
    launcher.ignite(launch_spec(tmp_path, python(script)))
    assert (await events.exited()).code == 0
    assert not alive(await read_pid(tmp_path / "pid"))


async def test_rest_is_not_signalled_again_when_the_main_process_ends(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    (tmp_path / "part.sh").write_text("""
        trap 'echo term >> got' TERM
        echo up >> up
        while ! [ -e end ]; do sleep 0.01; done
    """)
    started = launcher.ignite(launch_spec(tmp_path, sh("sh part.sh & setsid sh part.sh & wait")))
    await until(lambda: (tmp_path / "up").exists() and len((tmp_path / "up").read_text().split()) == 2)
    launcher.signal("crown_router", 1, "TERM")
    await until(lambda: not alive(started.pid))
    await until(lambda: len(launcher.holders("crown_router")) >= 2)
    (tmp_path / "end").touch()
    await events.exited()
    assert (tmp_path / "got").read_text().split() == ["term", "term"]


async def test_fork_bomb_is_killed_to_the_last(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """Every process forks, half of them into new sessions; bounded so that a failure stays small."""
    bomb = """
        import os, time
        end = time.monotonic() + 20
        for depth in range(6):
            if os.fork() == 0 and depth % 2:
                os.setsid()
        open("up", "a").write("x")
        while time.monotonic() < end:
            if os.fork() == 0:
                time.sleep(0.05)
                os._exit(0)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
            time.sleep(0.01)
    """
    spec = launch_spec(tmp_path, python(bomb))
    launcher.ignite(spec)
    await until(lambda: (tmp_path / "up").exists() and len((tmp_path / "up").read_text()) >= 40)
    launcher.kill("crown_router", 1)
    await events.exited()
    survivors = [
        pid for pid in procfs.all_pids() if procfs.environment_value(pid, "RAZAR_NONCE") == spec.nonce
    ]
    assert survivors == []


async def test_end_is_not_reported_while_a_child_changes_hands(
    launcher: LocalLauncher, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent ends just after the orphans were listed: at that moment it is in nobody's list."""
    inner = "sh -c 'echo $$ > child; exec sleep 60' & echo $$ > parent; wait"
    os.mkfifo(tmp_path / "fifo")
    launcher.ignite(launch_spec(tmp_path, sh(f"setsid sh -c {shlex.quote(inner)} & read x < fifo")))
    parent = await read_pid(tmp_path / "parent")
    child = await read_pid(tmp_path / "child")
    listed = reaper.look

    def look() -> tuple[list[reaper.Orphan], bool]:
        answer = listed()
        if any(orphan.stat.pid == parent for orphan in answer[0]):
            os.kill(parent, signal.SIGKILL)
            give_up = time.monotonic() + 5
            while (entry := procfs.stat(child)) and entry.ppid == parent and time.monotonic() < give_up:
                pass
        return answer

    monkeypatch.setattr(reaper, "look", look)
    os.close(os.open(tmp_path / "fifo", os.O_WRONLY))
    await events.exited()
    assert not alive(child)


async def test_process_lives_on_without_its_first_thread(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """The kernel calls such a process a zombie, and yet it works."""
    script = """
        import ctypes, os, platform, threading, time
        if os.fork():
            time.sleep(60)
        os.setsid()
        threading.Thread(target=time.sleep, args=(60,)).start()
        with open("pid.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("pid.new", "pid")
        ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)  # exit(2)
    """
    launcher.ignite(launch_spec(tmp_path, python(script)))
    pid = await read_pid(tmp_path / "pid")
    await until(lambda: (entry := procfs.stat(pid)) and entry.state == "Z")
    assert any(f"pid {pid} " in holder for holder in launcher.holders("crown_router"))
    launcher.kill("crown_router", 1)
    await events.exited()
    assert not os.path.exists(f"/proc/{pid}/task") or not os.listdir(f"/proc/{pid}/task")


async def test_runaway_that_forks_into_a_new_session_for_ever_is_caught(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """At any instant only one process of the chain lives, and soon under another pid."""
    chain = """
        import os, time
        end = time.monotonic() + 20
        open("up", "w").close()
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
            time.sleep(0.002)
    """
    spec = launch_spec(tmp_path, python(chain))
    launcher.ignite(spec)
    await until(lambda: (tmp_path / "up").exists())
    await events.exited()
    survivors = [
        pid for pid in procfs.all_pids() if procfs.environment_value(pid, "RAZAR_NONCE") == spec.nonce
    ]
    assert survivors == []


async def test_a_family_that_nobody_can_be_sure_of_does_not_take_the_whole_loop(
    launcher: LocalLauncher, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's orphans end at every look: it is looked again, with a rest now and then."""
    launcher.ignite(launch_spec(tmp_path, sh("read x < fifo")))
    family = launcher._living["crown_router"].family
    with monkeypatch.context() as moving:
        moving.setattr(reaper, "look", lambda: ([], False))
        family.kill()
        await until(lambda: family.gone or isinstance(family._checking, asyncio.TimerHandle))
        assert events.of(Exited) == [] and family._turns >= descendants.BURST
    await events.exited()


@pytest.mark.parametrize("seconds", [1.0, 0.0])
async def test_stray_without_marks_is_killed_at_the_end(
    launcher: LocalLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Also where the time for it is over before it could be seen a second time."""
    monkeypatch.setattr("razar.launchers.local.STRAY_TIME", seconds)
    script = "(env -i PATH=$PATH setsid sh -c 'echo $$ > pid; exec sleep 60' &); sleep 60"
    launcher.ignite(launch_spec(tmp_path, sh(script)))
    stray = await read_pid(tmp_path / "pid")
    await until(lambda: (entry := procfs.stat(stray)) and entry.ppid == os.getpid())
    assert not any(f"pid {stray} " in holder for holder in launcher.holders("crown_router"))
    await launcher.close()
    await until(lambda: not alive(stray))
    assert len(launcher.holders("crown_router")) == 2  # The living component is not touched.


async def test_process_once_seen_is_known_without_marks(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """Having been seen below its component is enough for a process that loses parent and marks later."""
    script = "env -i PATH=$PATH setsid sh -c 'echo $$ > pid; exec sleep 60' & echo up; read x < fifo; exit 0"
    os.mkfifo(tmp_path / "fifo")
    launcher.ignite(launch_spec(tmp_path, sh(script)))
    child = await read_pid(tmp_path / "pid")
    assert any(f"pid {child} " in holder for holder in launcher.holders("crown_router"))
    descriptor = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.close(descriptor)
    assert (await events.exited()).code == 0
    assert not alive(child)


async def test_pid_reuse_is_not_signalled(launcher: LocalLauncher, tmp_path: Path) -> None:
    """A pid that now belongs to another process must not be signalled."""
    started = launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    entry = procfs.stat(started.pid)
    assert entry is not None
    earlier = entry._replace(start_time=entry.start_time - 1)
    assert descendants.send(earlier, signal.SIGKILL) is False
    assert alive(started.pid)


async def test_reaped_child_is_not_signalled(launcher: LocalLauncher, events: Events, tmp_path: Path) -> None:
    """Once its pid was given back, a child's group may be anybody's."""
    launcher.ignite(launch_spec(tmp_path, ("true",)))
    family = launcher._living["crown_router"].family
    assert family is not None
    await events.exited()
    stranger = launcher.ignite(launch_spec(tmp_path, ("sleep", "60"), component="stranger"))
    family.child.pid = stranger.pid  # As if the kernel had given out the number again.
    family.child.send_group(signal.SIGKILL)
    family.kill()
    family.signal(signal.SIGTERM)
    assert alive(stranger.pid)


async def test_group_id_stays_reserved_while_members_live(
    launcher: LocalLauncher, events: Events, tmp_path: Path
) -> None:
    """The first process stays a zombie until the last of its group has gone: its pid is not reused."""
    started = launcher.ignite(
        launch_spec(tmp_path, sh("sh -c 'trap \"\" TERM; echo $$ > pid; sleep 60; sleep 60' & wait"))
    )
    await read_pid(tmp_path / "pid")
    launcher.signal("crown_router", 1, "TERM")
    await until(lambda: (entry := procfs.stat(started.pid)) and entry.ended)
    assert events.of(Exited) == []
    launcher.kill("crown_router", 1)
    await events.exited()
    assert procfs.stat(started.pid) is None


async def test_children_of_libraries_keep_their_status(launcher: LocalLauncher, tmp_path: Path) -> None:
    """A child that shares our session was started by somebody who will wait for it."""
    import subprocess

    launcher.ignite(launch_spec(tmp_path, ("sleep", "60")))
    process = subprocess.Popen(["sh", "-c", "exit 5"])
    await until(lambda: process.pid in zombies())
    reaper.adopted()
    assert process.wait() == 5


async def test_orphan_that_ended_is_reaped_while_its_component_lives(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    launcher.ignite(launch_spec(tmp_path, sh("(setsid sh -c 'echo $$ > pid' &); sleep 60")))
    orphan = await read_pid(tmp_path / "pid")
    await until(lambda: orphan in zombies())
    await until(lambda: procfs.stat(orphan) is None)


async def test_orphan_that_ended_before_its_launch_was_done_with_is_reaped_too(
    launcher: LocalLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first component may start and lose one while RAZAR has not got the processor back yet."""
    spawn, orphans = processes.spawn, []

    def slowly(*arguments: Any, **options: Any) -> processes.Child:
        child = spawn(*arguments, **options)
        path = tmp_path / "pid"
        orphans.append(int(until_sync(lambda: path.exists() and path.read_text().strip())))
        until_sync(lambda: orphans[0] in zombies())
        return child

    monkeypatch.setattr(processes, "spawn", slowly)
    launcher.ignite(launch_spec(tmp_path, sh("(setsid sh -c 'echo $$ > pid' &); sleep 60")))
    await until(lambda: procfs.stat(orphans[0]) is None)


async def test_remains_of_orphans_do_not_pile_up_and_wake_nobody_one_by_one(
    launcher: LocalLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pids that they take up are missing elsewhere. Of many that end, one is listened for."""
    looks: list[object] = []

    def remains() -> list[int]:
        others = [pid for pid in zombies() if pid not in reaper._children]
        return [pid for pid in others if (entry := procfs.stat(pid)) and entry.session != os.getsid(0)]

    monkeypatch.setattr(launcher._ends, "_look", lambda: looks.append(reaper.adopted()))
    script = """
        i=0; while [ $i -lt 50 ]; do (setsid true &); i=$((i+1)); done
        echo $$ > pid; exec sleep 60
    """
    launcher.ignite(launch_spec(tmp_path, sh(script)))
    await read_pid(tmp_path / "pid")
    await until(lambda: looks and not remains())
    # Nothing ends any more, nobody wakes.
    await until(
        lambda: launcher._ends._timer is None and signal.getsignal(signal.SIGCHLD) == launcher._ends._ended
    )
    assert len(looks) < 50
    monkeypatch.setattr("razar.launchers.child_signal.PAUSE", 60)
    os.kill(os.getpid(), signal.SIGCHLD)
    await until(lambda: launcher._ends._timer is not None)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    await launcher.close()
    assert launcher._ends._timer is None and signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


@pytest.mark.parametrize("name", ["a) (b", "x y) S 1 1"])
def test_names_with_parentheses_are_read_right(name: str, tmp_path: Path) -> None:
    """comm may contain anything, also what looks like the fields after it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open("/proc/self/comm", "w") as file:
            file.write(name)
        os.write(write, b"x")
        signal.pause()
        os._exit(0)
    try:
        os.read(read, 1)
        entry = procfs.stat(pid)
        assert entry is not None
        assert (entry.comm, entry.ppid, entry.session) == (name, os.getpid(), os.getsid(0))
        assert entry.state in "RS"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)
