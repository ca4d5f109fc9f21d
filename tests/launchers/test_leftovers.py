"""What a supervisor that was killed has left running: found with proof, stopped to the last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from razar.engine.events import Spawned
from razar.engine.recovery import Remains
from razar.launchers import leftovers, procfs
from tests.support.components import alive, read_pid
from tests.support.waiting import until


@pytest.fixture
def boot() -> str:
    """The id of a boot that has died."""
    return os.urandom(8).hex()


@contextmanager
def left(folder: Path, script: str, nonce: str) -> Iterator[subprocess.Popen[bytes]]:
    """A component whose supervisor is gone."""
    process = subprocess.Popen(
        ["sh", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "RAZAR_NONCE": nonce, "RAZAR_COMPONENT": "web"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def marked(nonce: str) -> list[int]:
    return [pid for pid in procfs.all_pids() if procfs.environment_value(pid, "RAZAR_NONCE") == nonce]


def spawned(process: subprocess.Popen[bytes], nonce: str, later: int = 0) -> Spawned:
    entry = procfs.stat(process.pid)
    assert entry is not None
    return Spawned("web", 1, process.pid, entry.start_time + later, nonce)


async def test_a_helper_started_in_answer_to_term_is_killed_too(tmp_path: Path, boot: str) -> None:
    script = "trap 'setsid sleep 300 & exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done"
    with left(tmp_path, script, f"{boot}-1") as process:
        await read_pid(tmp_path / "pid")
        found = leftovers.find(Remains([spawned(process, f"{boot}-1")], frozenset()))
        assert list(found) == ["web"]
        assert await leftovers.stop(found["web"]) == []
        assert marked(f"{boot}-1") == []


async def test_one_that_ignores_term_and_forks_on_is_killed_to_the_last(tmp_path: Path, boot: str) -> None:
    script = """
        trap '' TERM
        echo $$ > pid
        while :; do setsid sh -c 'while :; do sleep 0.01; done' & sleep 0.02; done
    """
    with left(tmp_path, script, f"{boot}-1") as process:
        await read_pid(tmp_path / "pid")
        found = leftovers.find(Remains([spawned(process, f"{boot}-1")], frozenset()))
        assert await leftovers.stop(found["web"], 0.1) == []
        assert marked(f"{boot}-1") == []


async def test_a_stranger_with_the_pid_of_a_component_is_left_alone(tmp_path: Path, boot: str) -> None:
    """The pid was given out again: the start time and the nonce are others."""
    with left(tmp_path, "echo $$ > pid; exec sleep 300", "of-somebody-else") as stranger:
        await read_pid(tmp_path / "pid")
        remains = Remains([spawned(stranger, f"{boot}-1", later=-1)], frozenset([boot]))
        assert leftovers.find(remains) == {}
        entry = procfs.stat(stranger.pid)
        assert entry is not None
        assert await leftovers.stop([entry._replace(start_time=entry.start_time - 1)]) == []
        assert alive(stranger.pid)


async def test_empty_marks_are_no_proof(tmp_path: Path, boot: str) -> None:
    """A damaged journal may name a boot without an id; most processes carry no nonce at all."""
    with left(tmp_path, "echo $$ > pid; exec sleep 300", "") as process:
        await read_pid(tmp_path / "pid")
        assert leftovers.find(Remains([], frozenset([""]))) == {}
        assert leftovers.find(Remains([Spawned("a", 1, process.pid, 0, "")], frozenset(["", boot]))) == {}
    with left(tmp_path, "rm pid; echo $$ > pid; exec sleep 300", "-1234"):
        await read_pid(tmp_path / "pid")
        assert leftovers.find(Remains([], frozenset([""]))) == {}


async def test_those_that_we_descend_from_are_spared(boot: str) -> None:
    """The tree below one of them holds ourselves, and strangers."""
    journal = []
    for pid in (1, os.getpid(), os.getppid()):
        entry = procfs.stat(pid)
        assert entry is not None
        journal.append(Spawned("a", 1, pid, entry.start_time, f"{boot}-1"))
    assert leftovers.find(Remains(journal, frozenset([boot]))) == {}


def test_a_component_that_boots_its_mission_anew_does_not_stop_itself(tmp_path: Path, boot: str) -> None:
    """The new supervisor descends from a leftover and carries its nonce."""
    script = """
        import asyncio, os, sys
        from razar.engine.recovery import Remains
        from razar.launchers import leftovers
        found = leftovers.find(Remains([], frozenset([sys.argv[1]])))
        names = [procs[0].comm for procs in found.values()]
        assert asyncio.run(leftovers.stop(process for procs in found.values() for process in procs)) == []
        print(names)
    """
    done = subprocess.run(
        ["sh", "-c", f'sleep 300 & "{sys.executable}" -c "$SCRIPT" {boot}; exit $?'],
        env={**os.environ, "SCRIPT": textwrap.dedent(script), "RAZAR_NONCE": f"{boot}-1"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (0, "['sleep']\n"), done.stderr
    assert marked(f"{boot}-1") == []


async def test_a_start_that_was_never_written_down_is_found_by_its_boot(tmp_path: Path, boot: str) -> None:
    with left(tmp_path, "echo $$ > pid; exec sleep 300", f"{boot}-1") as process:
        pid = await read_pid(tmp_path / "pid")
        found = leftovers.find(Remains([], frozenset([boot])))
        assert [entry.pid for entry in found["web"]] == [pid]
        assert await leftovers.stop(found["web"]) == []
        assert process.wait(5) == -signal.SIGTERM


async def test_one_that_was_stopped_ends_all_the_same(tmp_path: Path, boot: str) -> None:
    with left(tmp_path, "echo $$ > pid; exec sleep 300", f"{boot}-1") as process:
        await read_pid(tmp_path / "pid")
        process.send_signal(signal.SIGSTOP)
        await until(lambda: (entry := procfs.stat(process.pid)) and entry.state == "T")
        found = leftovers.find(Remains([spawned(process, f"{boot}-1")], frozenset()))
        assert await leftovers.stop(found["web"], 0.05) == []
        assert not alive(process.pid)
