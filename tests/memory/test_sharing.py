"""Several processes and threads at one file: nobody loses anything, nobody waits longer than was said."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from neoabzu_memory import LAYERS, BusyError, ForkedError, MemoryBundle
from tests.memory.support import finish, run, start
from tests.support.waiting import until_sync

WRITER = """
    import sys
    from neoabzu_memory import MemoryBundle
    path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    bundle = MemoryBundle(path, busy_timeout=30)
    for number in range(count):
        print(bundle.remember("episodic", f"from afar {name} number{number}"), flush=True)
"""
READER = """
    import sys
    from neoabzu_memory import MemoryBundle
    bundle = MemoryBundle(sys.argv[1])
    seen = []
    while not seen or seen[-1] < int(sys.argv[2]):
        answer = bundle.query("afar", limit=1000, deadline=20)
        assert answer["failed_layers"] == {}, answer
        if not seen:
            print("reading", flush=True)
        seen.append(len(answer["hits"]))
    print(seen == sorted(seen), len(seen) > 1)
"""
#: Another process, for within one the two copies of SQLite would not see each other's locks.
HOLDER = """
    import sqlite3, sys
    other = sqlite3.connect(sys.argv[1], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.readline()
    other.execute("ROLLBACK")
"""


@contextmanager
def held(path: str) -> Iterator[Callable[[], object]]:
    """Have another process in the middle of writing until the block ends, or what is given is called."""
    with start(HOLDER, path) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield lambda: finish(holder, "\n")
        finally:
            holder.kill()


def total(bundle: MemoryBundle) -> int:
    return sum(layer["records"] for layer in bundle.stats()["layers"].values())


def test_readers_see_what_a_writer_writes_while_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    MemoryBundle(path).initialize()
    readers = [start(READER, path, 150) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
    writer = start(WRITER, path, "one", 150)
    assert len(finish(writer).splitlines()) == 150
    assert [finish(reader).split() for reader in readers] == [["True", "True"]] * 2


def test_two_writers_at_a_new_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "memory.db"
    writers = [start(WRITER, path, name, 60) for name in ("one", "two", "three")]
    ids = [line for writer in writers for line in finish(writer).splitlines()]
    assert len(set(ids)) == 180
    assert total(MemoryBundle(path)) == 180


def test_what_a_killed_writer_was_told_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with start(WRITER, path, "one", 1_000_000) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
        told += writer.stdout.read().splitlines(keepends=True)
    told = [line.strip() for line in told if line.endswith("\n")]
    with MemoryBundle(path) as bundle:
        assert set(bundle.initialize().values()) == {"ready"}
        assert all(bundle.forget(id) for id in told)
        assert total(bundle) <= 1, "the one it had not yet told of"


def test_a_writer_that_does_not_let_go_is_an_error_and_no_hang(tmp_path: Path) -> None:
    bundle = MemoryBundle(tmp_path / "memory.db", busy_timeout=0.05)
    bundle.remember("working", "before")
    with held(bundle.path):
        with pytest.raises(BusyError, match=r"another process is writing.*try again"):
            bundle.remember("working", "during")
        assert all("another process is writing" in status for status in bundle.initialize().values())
        assert len(bundle.query("before", deadline=10)["hits"]) == 1, "reading does not wait for a writer"
    bundle.remember("working", "after")


def test_boots_that_initialise_at_the_same_time_find_no_fault(tmp_path: Path) -> None:
    script = """
        import sys
        from memory.bundle import MemoryBundle
        for _ in range(15):
            with MemoryBundle(sys.argv[1]) as bundle:
                statuses = bundle.initialize()
            assert set(statuses.values()) == {"ready"}, statuses
    """
    processes = [start(script, tmp_path / "memory.db") for _ in range(3)]
    assert [finish(process) for process in processes] == ["", "", ""]


def test_a_time_limit_fails_the_layers_and_not_the_query(tmp_path: Path) -> None:
    bundle = MemoryBundle(tmp_path / "memory.db")
    bundle.remember_many("semantic", ({"text": f"common words here and number{n}"} for n in range(20_000)))
    short = bundle.query("common words here and others", deadline=1e-9)
    assert short["hits"] == [] and set(short["failed_layers"]) == set(LAYERS)
    assert all("time limit" in reason for reason in short["failed_layers"].values())
    again = bundle.query("common words here and others", deadline=10)
    assert len(again["hits"]) == 10 and again["failed_layers"] == {}


def test_threads_share_a_bundle(tmp_path: Path) -> None:
    bundle = MemoryBundle(tmp_path / "memory.db", busy_timeout=30)

    def write(writer: int) -> None:
        for number in range(30):
            id = bundle.remember(LAYERS[number % 4], f"shared text of writer{writer} number{number}")
            if number % 5 == 0:
                assert bundle.forget(id)

    def read(_: int) -> None:
        for _ in range(30):
            assert bundle.query("shared text", deadline=20)["failed_layers"] == {}

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, n) for n in range(4)] + [pool.submit(read, n) for n in range(4)]:
            done.result()
    assert total(bundle) == 4 * 24


@pytest.mark.parametrize(
    "call",
    [
        lambda bundle: bundle.remember("working", "during"),
        lambda bundle: bundle.remember_many("working", [{"text": "during"}]),
        lambda bundle: bundle.forget("working-1"),
        lambda bundle: bundle.initialize(),
        lambda bundle: bundle.record_failure("router", "network", "refused"),
    ],
    ids=["remember", "remember_many", "forget", "initialize", "record_failure"],
)
def test_other_threads_go_on_while_one_waits(tmp_path: Path, call: Callable[[MemoryBundle], object]) -> None:
    """Were the interpreter's lock kept, nobody could let go of the file, and the wait would end as an error."""
    bundle = MemoryBundle(tmp_path / "memory.db", busy_timeout=30)
    bundle.remember("working", "before")
    with held(bundle.path) as let_go:
        failures: list[BaseException] = []

        def wait() -> None:
            try:
                call(bundle)
            except BaseException as error:
                failures.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        until_sync(lambda: sleeps(waiting))
        let_go()
        waiting.join(30)
        assert not waiting.is_alive() and failures == []


def sleeps(thread: threading.Thread) -> bool:
    """Whether a thread is in SQLite's wait for a lock, as the kernel sees it."""
    assert thread.is_alive(), "it did not wait"
    try:
        call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()
    except OSError:
        return True  # The kernel does not tell; then it may still be on its way there.
    # nanosleep and clock_nanosleep, of x86-64 and of the other architectures.
    return call[0] in ("35", "230", "101", "115")


def test_queries_of_threads_run_side_by_side(tmp_path: Path) -> None:
    bundle = MemoryBundle(tmp_path / "memory.db")
    bundle.remember_many("semantic", ({"text": f"common words {n % 7} and number{n}"} for n in range(20_000)))
    steps = 0
    over = threading.Event()

    def count() -> None:
        nonlocal steps
        while not over.is_set():
            steps += 1

    counting = threading.Thread(target=count)
    counting.start()
    try:
        # So many steps of Python are possible only if queries do not hold the interpreter.
        until_sync(lambda: bundle.query("common words and others", deadline=10) and steps > 10_000)
    finally:
        over.set()
        counting.join()


def test_a_forked_child_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    script = """
        import os, sys
        from neoabzu_memory import ForkedError, MemoryBundle
        bundle = MemoryBundle(sys.argv[1])
        bundle.remember("working", "of the parent")
        child = os.fork()
        if not child:
            try:
                MemoryBundle(sys.argv[1]).remember("working", "of the child")
            except ForkedError as error:
                print(error, flush=True)
                bundle.close()
                os._exit(7)
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        bundle.remember("working", "still of the parent")
        print(len(bundle.query("parent", deadline=10)["hits"]))
    """
    told, code, hits = run(script, tmp_path / "memory.db").splitlines()
    assert "this process was forked while a memory bundle was open; close it before the fork" in told
    assert (code, hits) == ("7", "2")
    assert issubclass(ForkedError, Exception)


def test_a_bundle_goes_to_another_process(tmp_path: Path) -> None:
    bundle = MemoryBundle(tmp_path / "memory.db")
    bundle.remember("working", "of the parent")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(total, (bundle,)) == 1


def test_leaving_the_interpreter_with_an_open_bundle_loses_nothing(tmp_path: Path) -> None:
    script = """
        import sys
        from neoabzu_memory import MemoryBundle
        bundle = MemoryBundle(sys.argv[1])
        bundle.remember("working", "kept")
    """
    path = tmp_path / "memory.db"
    run(script, path)
    assert total(MemoryBundle(path)) == 1


def test_programs_that_are_started_meanwhile_inherit_nothing(tmp_path: Path) -> None:
    bundle = MemoryBundle(tmp_path / "memory.db")
    bundle.remember("working", "text")
    listed = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False)
    assert "memory.db" not in listed.stdout
    assert any("memory.db" in os.readlink(f"/proc/self/fd/{fd}") for fd in links())


def links() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")]
