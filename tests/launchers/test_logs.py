"""Logs: rotated without loss, read back by position, fit to be shown."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from razar.launchers import logs
from razar.launchers.local import LocalLauncher
from razar.launchers.logs import LogFile, log_file
from tests.support.components import Events, launch_spec, python, sh
from tests.support.waiting import until


def content(path: Path) -> bytes:
    """All there is of a log, oldest first."""
    older = sorted(path.parent.glob("current.log.[0-9]*"), key=lambda p: -int(p.suffix[1:]))
    return b"".join(file.read_bytes() for file in [*older, path] if file.exists())


def can_cut(folder: Path) -> bool:
    path = folder / "probe"
    path.write_bytes(bytes(1 << 16))
    descriptor = os.open(path, os.O_RDWR)
    try:
        logs._collapse(descriptor, 4096)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    descriptor, _ = (file := log_file(str(tmp_path / "current.log"))).open()
    os.close(descriptor)
    return file


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_AT", 64 << 10)
    monkeypatch.setattr(logs, "STAY", 8 << 10)


async def test_nothing_is_lost_when_a_fast_writer_is_rotated(
    launcher: LocalLauncher, events: Events, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes write numbered lines as fast as they can while the front is cut off again and again."""
    if not can_cut(tmp_path):
        pytest.skip("this file system cannot cut off the front of a file")
    monkeypatch.setattr(logs, "KEEP", 10_000)
    script = """
        import os
        name = next((name for name in b"abc" if os.fork() == 0), b"d"[0])
        n = 0
        while n % 1000 or not os.path.exists("enough"):
            os.write(1, b"%c %d %s\\n" % (name, n, b"x" * (n % 50)))
            n += 1
        while name == b"d"[0]:
            try:
                os.wait()
            except ChildProcessError:
                break
    """
    launcher.ignite(launch_spec(tmp_path, python(script)))
    path = tmp_path / "logs" / "components" / "crown_router" / "current.log"
    rotations = 0
    while rotations < 8:
        rotations += await launcher.rotate("crown_router")
    (tmp_path / "enough").touch()
    assert (await events.exited()).code == 0
    # If one is under way, this waits for its end: files must not move while they are read.
    await launcher.rotate("crown_router")
    found: dict[str, list[int]] = {}
    for line in content(path).decode().splitlines():
        match = re.fullmatch(r"([a-d]) (\d+) (x*)", line)
        assert match is not None, line
        assert len(match[3]) == int(match[2]) % 50
        found.setdefault(match[1], []).append(int(match[2]))
    assert sorted(found) == ["a", "b", "c", "d"]
    for numbers in found.values():
        assert numbers == list(range(len(numbers)))


async def test_positions_survive_rotation(tmp_path: Path, log: LogFile, small: None) -> None:
    if not can_cut(tmp_path):
        pytest.skip("this file system cannot cut off the front of a file")
    path = Path(log.path)
    write(path, b"".join(b"old %06d\n" % n for n in range(20_000)))
    descriptor, since = log.open()  # Over the size: becomes current.log.1 first.
    os.close(descriptor)
    assert (path.stat().st_size, since) == (0, 220_000)
    lines = [b"new %06d\n" % n for n in range(20_000)]
    seen, position = b"", since
    for start in range(0, 20_000, 1000):
        write(path, b"".join(lines[start : start + 1000]))
        if start % 5000 == 0:
            data, position = log.read(position, 1 << 20)
            seen += data
            assert log.rotate() == (start > 0)
    while True:
        data, position = log.read(position, 5000)
        if not data:
            break
        seen += data
    assert seen == b"".join(lines)
    assert log.tail(since, 1) == ("new 019999",)
    assert path.stat().st_size < 1 << 17


async def test_five_rotated_files_are_kept(tmp_path: Path, log: LogFile, small: None) -> None:
    path = Path(log.path)
    for n in range(9):
        write(path, b"%d" % n * logs.ROTATE_AT)
        os.close(log.open()[0])
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["current.log", *(f"current.log.{n}" for n in range(1, 6))]
    assert [(tmp_path / f"current.log.{n}").read_bytes()[:1] for n in range(1, 6)] == [
        b"8",
        b"7",
        b"6",
        b"5",
        b"4",
    ]


async def test_small_log_is_left_alone(tmp_path: Path, log: LogFile) -> None:
    write(Path(log.path), b"a line\n")
    assert log.rotate() is False
    assert log.open()[1] == 7
    assert [p.name for p in tmp_path.iterdir()] == ["current.log"]


@pytest.mark.parametrize("cut", [False, True])
def test_rotation_that_was_killed_in_its_middle_is_settled(
    tmp_path: Path, log: LogFile, small: None, cut: bool
) -> None:
    """The copy is there; whether the original was cut shows in its beginning."""
    path, spare = Path(log.path), Path(log.path + ".new")
    whole = b"".join(b"line %06d\n" % n for n in range(10_000))
    spare.write_bytes(whole[:65536])
    path.write_bytes(whole[65536:] if cut else whole)
    os.close(log.open()[0])
    assert not spare.exists()
    assert content(path) == whole


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        if can_cut(folder):
            pytest.skip("/dev/shm can cut off the front of a file")
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no tmpfs")
def test_log_stays_whole_where_it_cannot_be_cut(
    other_file_system: Path, small: None, caplog: pytest.LogCaptureFixture
) -> None:
    log = LogFile(str(other_file_system / "current.log"))
    whole = b"line\n" * 50_000
    Path(log.path).write_bytes(whole)
    assert log.rotate() is False
    assert log.rotate() is False
    assert Path(log.path).read_bytes() == whole
    assert [p.name for p in other_file_system.iterdir() if p.name != "probe"] == ["current.log"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{log.path} grows and cannot be rotated: Operation not supported"
    ]


def test_what_a_runaway_wrote_beyond_all_that_is_kept_is_dropped(
    log: LogFile, small: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not can_cut(tmp_path):
        pytest.skip("this file system cannot cut off the front of a file")
    path = Path(log.path)
    write(path, b"".join(b"%07d\n" % n for n in range(250_000)))
    since = 2_000_000 - 8 * 10
    assert log.rotate() is True
    kept = content(path)
    assert len(kept) <= logs.KEEP * logs.ROTATE_AT + (1 << 16)
    assert kept.endswith(b"0249998\n0249999\n")
    assert log.read(since, 16) == (b"0249990\n0249991\n", since + 16)
    assert "grows too fast" in caplog.text


@pytest.mark.parametrize("watched", [True, False])
async def test_running_component_is_rotated_as_soon_as_its_log_is_large(
    events: Events, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    if not can_cut(tmp_path):
        pytest.skip("this file system cannot cut off the front of a file")
    monkeypatch.setattr("razar.launchers.log_watch.PAUSE", 0.01)
    if not watched:  # max_user_watches
        monkeypatch.setattr("razar.launchers.log_watch.LogWatch._arm", lambda watch, key: False)
    launcher = LocalLauncher(events)
    launcher.ignite(launch_spec(tmp_path, sh("seq 40000; exec sleep 60")))
    path = tmp_path / "logs" / "components" / "crown_router" / "current.log"
    await until(lambda: path.exists() and b"\n40000\n" in content(path))
    await until(lambda: path.stat().st_size < logs.ROTATE_AT and Path(f"{path}.1").exists())
    assert launcher.tail("crown_router", 2) == ("39999", "40000")
    launcher.kill("crown_router", 1)
    await events.exited()
    await launcher.rotate("crown_router")
    assert content(path) == b"".join(b"%d\n" % n for n in range(1, 40_001))
    await launcher.close()


async def test_a_log_that_grows_again_after_a_pause_is_noticed(
    launcher: LocalLauncher, events: Events, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_cut(tmp_path):
        pytest.skip("this file system cannot cut off the front of a file")
    monkeypatch.setattr("razar.launchers.log_watch.PAUSE", 0.01)
    os.mkfifo(tmp_path / "go")
    launcher.ignite(launch_spec(tmp_path, sh("exec 3<> go; echo one; while read x <&3; do seq 30000; done")))
    path = tmp_path / "logs" / "components" / "crown_router" / "current.log"
    for number in (1, 2, 3):
        await until(lambda: launcher._watch._pauses == {})  # Nothing is being looked at: it sleeps.
        await asyncio.to_thread((tmp_path / "go").write_text, "x\n")
        last = Path(f"{path}.{number}")
        await until(last.exists)
        await until(lambda: path.stat().st_size < logs.ROTATE_AT)


async def test_what_is_written_during_a_rotation_is_rotated_next(
    launcher: LocalLauncher, events: Events, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_cut(tmp_path):
        pytest.skip("this file system cannot cut off the front of a file")
    monkeypatch.setattr("razar.launchers.log_watch.PAUSE", 0.01)
    cut, go_on = threading.Event(), threading.Event()

    def slow_shift(log: LogFile, shift: Callable[[LogFile], None] = LogFile._shift) -> None:
        cut.set()
        assert go_on.wait(10)
        shift(log)

    monkeypatch.setattr(LogFile, "_shift", slow_shift)
    os.mkfifo(tmp_path / "go")
    launcher.ignite(launch_spec(tmp_path, sh("seq 30000; read x < go; seq 30000; exec sleep 60")))
    path = tmp_path / "logs" / "components" / "crown_router" / "current.log"
    assert await asyncio.to_thread(cut.wait, 10)
    await asyncio.to_thread((tmp_path / "go").write_text, "x\n")
    await until(lambda: path.read_bytes().count(b"\n30000\n") == 2 and not launcher._watch._pauses)
    go_on.set()
    await until(lambda: path.stat().st_size < logs.ROTATE_AT and not launcher._rotations)
    assert content(path).count(b"\n30000\n") == 2


async def test_a_quiet_component_wakes_nobody(
    launcher: LocalLauncher, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("razar.launchers.log_watch.PAUSE", 0.01)
    looks: list[str] = []
    monkeypatch.setattr(launcher._watch, "_on_written", looks.append)
    launcher.ignite(launch_spec(tmp_path, sh("echo up; exec sleep 60")))
    await until(lambda: looks == ["crown_router"])
    assert launcher._watch._pauses == {}  # The next look is only for the next line.


async def test_no_timer_runs_without_components(
    launcher: LocalLauncher, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("razar.launchers.local.ROUND", 0.01)
    launcher.ignite(launch_spec(tmp_path, ("true",)))
    await events.exited()
    await until(lambda: launcher._timer is None)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[31mred\x1b[0m text", "red text"),
        (b"\x1b]0;title\x07after", "after"),
        (b"10%\r50%\r100%\r", "100%"),
        (b"windows\r", "windows"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (b"a\tb", "a    b"),
        (b"bell\x07 \xe2\x80\xae", "bell\\x07 \\u202e"),
        (b"url http://ann:secret99@host/", "url http://host/"),
        (b"y" * 5000, "y" * 999 + "…"),
    ],
)
def test_tail_is_fit_to_be_shown(log: LogFile, written: bytes, shown: str) -> None:
    write(Path(log.path), b"first\n" + written + b"\n")
    assert log.tail(0, 20) == ("first", shown)


def test_tail_is_bounded_and_of_this_launch(log: LogFile) -> None:
    path = Path(log.path)
    write(path, b"before\n")
    _, since = (opened := log.open())
    os.close(opened[0])
    assert log.tail(since, 20) == ()
    write(path, b"no end of line")
    assert log.tail(since, 20) == ("no end of line",)
    write(path, b"\n\nlast\n")
    assert log.tail(since, 20) == ("no end of line", "", "last")
    assert log.tail(since, 2) == ("", "last")
    write(path, b"z" * (1 << 20))
    assert [len(line) for line in log.tail(since, 20)] == [1000]
    write(path, b"\n" + b"w\n" * 500_000)
    assert log.tail(since, 3) == ("w", "w", "w")


def test_tail_of_a_log_that_was_removed(log: LogFile) -> None:
    os.unlink(log.path)
    assert log.tail(0, 20) == ()
    assert log.read(0, 100) == (b"", 0)


def test_reading_goes_on_after_somebody_truncated_the_log(log: LogFile) -> None:
    path = Path(log.path)
    write(path, b"0123456789")
    data, position = log.read(0, 100)
    assert data == b"0123456789"
    path.write_bytes(b"")
    assert log.read(position, 100) == (b"", position)
    write(path, b"new")
    assert log.read(position, 100)[0] == b"new"


def test_a_log_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(log_file(str(tmp_path / "a" / "current.log")).open()[0])
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "a" / "current.log").st_mode & 0o777 == 0o640


def test_a_mode_that_somebody_has_set_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "current.log"
    path.touch(0o600)
    os.close(log_file(str(path)).open()[0])
    assert path.stat().st_mode & 0o777 == 0o600
