"""Notification sockets: only the component itself can say that it is ready."""

from __future__ import annotations

import array
import os
import shutil
import socket
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from razar.config.model import Probe
from razar.engine.events import ProbeFailed, ProbePassed
from razar.health_checks import Prober
from razar.launchers.local import LocalLauncher
from razar.launchers.processes import run
from razar.probes.notify_socket import NotifySocket
from tests.probes.checking import unused_evaluate
from tests.support.components import Events, alive, launch_spec, probe_target, python, read_pid
from tests.support.waiting import until, until_sync

SEND = """
    import os, socket, sys, time
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = "\\0" + os.environ["NOTIFY_SOCKET"][1:]
    def say(text):
        sock.sendto(text.encode(), address)
"""


class Stage:
    """A component that is probed by notification."""

    def __init__(self, folder: Path) -> None:
        self.events = Events()
        self.folder = folder
        self.launcher = LocalLauncher(self.events)
        self.prober = Prober(self.events, evaluate=unused_evaluate)
        self.probe = Probe(kind="notify")

    def start(self, script: str, incarnation: int = 1, **env: str) -> str:
        address = self.prober.open_notify("crown_router", incarnation)
        spec = launch_spec(
            self.folder, python(script), incarnation=incarnation, env={"NOTIFY_SOCKET": address, **env}
        )
        self.launcher.ignite(spec)
        target = probe_target(self.probe, self.folder, env=spec.env, incarnation=incarnation)
        self.prober.start(target, "readiness")
        return address


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.prober.close()
    for component, living in list(stage.launcher._living.items()):
        stage.launcher.kill(component, living.number)
    await until(lambda: not stage.launcher._living)
    await stage.launcher.close()


async def test_ready(stage: Stage) -> None:
    stage.start(SEND + "    say('STATUS=loading\\nREADY=1')\n    time.sleep(60)")
    await stage.events.passed()


async def test_descendant_in_its_own_session_may_speak(stage: Stage) -> None:
    script = (
        SEND
        + """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            say('READY=1')
    time.sleep(60)
    """
    )
    stage.start(script)
    await stage.events.passed()


async def test_child_without_environment_may_speak(stage: Stage) -> None:
    """Its session and its parent say where it belongs."""
    script = (
        SEND
        + """
    os.environ["ADDRESS"] = address[1:]
    child = 'import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); '
    child += 's.sendto(b"READY=1", "\\\\0" + os.sys.argv[1]); time.sleep(60)'
    os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-S", "-c", child, address[1:]], {})
    """
    )
    stage.start(script)
    await stage.events.passed()


async def test_orphan_of_the_session_may_speak(stage: Stage) -> None:
    """A helper without environment whose parent has ended: only the session is left."""
    script = (
        SEND
        + """
    child = 'import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); '
    child += 'exec("while os.getppid() == int(os.sys.argv[2]): time.sleep(0.001)"); '
    child += 's.sendto(b"READY=1", "\\\\0" + os.sys.argv[1]); time.sleep(60)'
    if os.fork() == 0:
        argv = [sys.executable, "-S", "-c", child, address[1:], str(os.getpid())]
        os.spawnve(os.P_NOWAIT, sys.executable, argv, {})
        os._exit(0)
    os.wait()
    time.sleep(60)
    """
    )
    stage.start(script)
    await stage.events.passed()


async def test_helper_that_has_ended_by_the_time_it_is_heard_may_speak(stage: Stage) -> None:
    """It left the session, its parent is gone, and what remains of it is RAZAR's to reap: nothing tells its origin."""
    script = (
        SEND
        + """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while os.getppid() != razar:
                time.sleep(0.001)
            say('READY=1')
            open("sent", "w").write(str(os.getpid()))
        os._exit(0)
    time.sleep(60)
    """
    )
    stage.start(f"razar = {os.getpid()}\n" + textwrap.dedent(script))
    sent = stage.folder / "sent"
    helper = int(until_sync(lambda: sent.exists() and sent.read_text()))
    until_sync(lambda: not alive(helper))
    await stage.events.passed()


async def test_stranger_is_not_believed(stage: Stage) -> None:
    address = stage.start("import time; time.sleep(60)")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"READY=1", "\0" + address[1:])
    error = await stage.events.failed(f"a message from pid {os.getpid()}")
    assert error.endswith("which does not belong to this component, was ignored")
    assert stage.events.of(ProbePassed) == []


async def test_older_incarnation_is_not_believed(stage: Stage) -> None:
    """A leftover of the incarnation before knows only a socket that is closed."""
    first = stage.start("import time; time.sleep(60)")
    stage.launcher.kill("crown_router", 1)
    await stage.events.exited()
    second = stage.start("import time; time.sleep(60)", 2)
    assert first != second
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, pytest.raises(ConnectionRefusedError):
        sock.sendto(b"READY=1", "\0" + first[1:])


async def test_status_is_part_of_the_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("razar.health_checks.REPORT_INTERVAL", 0.0)
    stage.start(SEND + "    say('STATUS=loading weights\\nX=y')\n    time.sleep(60)")
    assert await stage.events.failed("weights") == "READY=1 was not received yet; its status: loading weights"


async def test_messages_that_mean_nothing_to_us_are_accepted(stage: Stage) -> None:
    script = (
        SEND
        + """
    for text in ("WATCHDOG=1", "MAINPID=1", "EXTEND_TIMEOUT_USEC=1000000", "READY=0", "=", "", "\\x00\\xff"):
        say(text)
    say("x" * 10000)
    open("sent", "w").write("1")
    time.sleep(60)
    """
    )
    stage.start(script)
    await read_pid(stage.folder / "sent")
    await stage.events.failed("READY=1 was not received yet on $NOTIFY_SOCKET")
    assert stage.events.of(ProbePassed) == []


async def test_sender_is_never_held_up(stage: Stage) -> None:
    """Messages are read after readiness too: a full queue would block the component."""
    script = (
        SEND
        + """
    say('READY=1')
    for n in range(2000):
        say('WATCHDOG=1')
    open("sent", "w").write("1")
    time.sleep(60)
    """
    )
    stage.start(script)
    await stage.events.passed()
    stage.prober.stop("crown_router", 1)
    await read_pid(stage.folder / "sent")


async def test_descriptors_that_are_sent_along_are_closed(tmp_path: Path) -> None:
    """BARRIER=1 comes with a descriptor, and is answered by closing it."""
    notify = NotifySocket()
    os.environ["RAZAR_NONCE"] = "unused"
    notify.listen("nonce of nobody")
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        content = array.array("i", [write])
        sock.sendmsg(
            [b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, content)], 0, "\0" + notify.address[1:]
        )
    os.close(write)
    os.set_blocking(read, False)

    def closed() -> bool:
        try:
            return os.read(read, 1) == b""
        except BlockingIOError:
            return False

    await until(closed)
    os.close(read)
    notify.close()
    del os.environ["RAZAR_NONCE"]


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="needs systemd-notify")
async def test_systemd_notify(stage: Stage) -> None:
    """The helper program that scripts use; it is gone soon after."""
    stage.start("import os, time; os.system('systemd-notify --ready'); time.sleep(60)")
    await stage.events.passed()


async def test_without_a_socket_it_is_said_at_once(tmp_path: Path) -> None:
    events = Events()
    prober = Prober(events, evaluate=unused_evaluate)
    prober.start(probe_target(Probe(kind="notify"), tmp_path), "readiness")
    assert (
        events.of(ProbeFailed)[0].error == "cannot probe: no notification socket was opened for this launch"
    )
    await prober.close()


async def test_commands_do_not_inherit_the_nonce(tmp_path: Path) -> None:
    """What a probe's command starts is not taken for a part of the component."""
    done = await run(
        ("sh", "-c", "echo $RAZAR_NONCE"),
        env={"RAZAR_NONCE": "mine", "PATH": os.environ["PATH"]},
        capture=True,
    )
    assert done.output.strip() not in (b"mine", b"")
