"""Files that are damaged, of another version, read-only, or without room: told by type, and the rest goes on."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from neoabzu_memory import (
    LAYERS,
    BundleError,
    CorruptError,
    MemoryBundle,
    ReadOnlyError,
    SchemaError,
    StorageError,
)
from tests.memory.support import FIRST, finish, plain_user, run, small_disk, start

#: What a process does that may not write: it tells what it found and how writing failed.
READ_ONLY = """
    import sys
    from neoabzu_memory import BundleError, MemoryBundle
    bundle = MemoryBundle(sys.argv[1], busy_timeout=1)
    answer = bundle.query("kept", deadline=10)
    print([hit["text"] for hit in answer["hits"]], "" if answer["hits"] else answer["failed_layers"]["working"])
    try:
        print(bundle.remember("working", "more"))
    except BundleError as error:
        print(type(error).__name__, error)
    print(sorted({status.partition(" ")[0] for status in bundle.initialize().values()}))
"""
#: Keeps records until there is no room, tells how that ended, goes on reading, and once there is room writing.
FILL = """
    import resource, sys
    from neoabzu_memory import FullError, MemoryBundle
    path, limit = sys.argv[1], int(sys.argv[2])
    bundle = MemoryBundle(path)
    bundle.remember("working", "kept before")
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    kept = 0
    try:
        while kept < 1000:
            bundle.remember("semantic", f"record number{kept} " + "filler " * 1000)
            kept += 1
    except FullError as error:
        print(kept, error)
    answer = bundle.query("kept before", deadline=10)
    print(len(answer["hits"]), answer["failed_layers"], flush=True)
    sys.stdin.readline()
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    bundle.remember("semantic", "there is room again")
    print(bundle.stats()["layers"]["semantic"]["records"])
"""


def filled(path: Path, records: int = 1) -> Path:
    """Make a memory file with something in every layer."""
    with MemoryBundle(path) as bundle:
        for layer in LAYERS:
            bundle.remember_many(layer, [{"text": f"kept text {n}"} for n in range(records)])
    return path


def altered(path: Path, *statements: str) -> Path:
    """Change a file behind the memory's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.executescript(statement)
    return path


@pytest.mark.parametrize("content", [b"something else" * 100, b"SQLite format 3\0" + b"garbage" * 300, b"x"])
def test_a_file_that_is_no_memory_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(content)
    with MemoryBundle(path) as bundle:
        with pytest.raises(CorruptError, match=f"{path}: this is not a memory file.*; set it aside"):
            bundle.remember("working", "text")
        answer = bundle.query("text")
        assert answer["hits"] == [] and set(answer["failed_layers"]) == set(LAYERS)
        statuses = bundle.initialize()
    assert set(statuses) == set(LAYERS)
    assert all(status.startswith("error: ") and str(path) in status for status in statuses.values())
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = altered(tmp_path / "memory.db", "CREATE TABLE theirs(x)")
    with MemoryBundle(path) as bundle, pytest.raises(CorruptError, match="of another program"):
        bundle.remember("working", "text")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_layer_of_a_newer_schema_fails_alone(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    altered(path, "UPDATE parts SET schema = 9 WHERE name = 'episodic'")
    with MemoryBundle(path) as bundle:
        statuses = bundle.initialize()
        assert statuses.pop("episodic").startswith("error: ")
        assert set(statuses.values()) == {"ready"}
        with pytest.raises(SchemaError, match=r"episodic was written with schema 9.*use the newer version"):
            bundle.remember("episodic", "text")
        answer = bundle.query("kept", deadline=10)
        assert len(answer["hits"]) == 3 and list(answer["failed_layers"]) == ["episodic"]
        bundle.remember("semantic", "text")


def test_a_file_of_a_newer_arrangement_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    altered(path, "PRAGMA user_version = 3; DROP TABLE parts")
    with MemoryBundle(path) as bundle, pytest.raises(SchemaError, match=r"newer version \(format 3"):
        bundle.remember("working", "text")


def test_the_records_of_the_first_arrangement_are_taken_over(tmp_path: Path) -> None:
    rows = """INSERT INTO record (layer, text, metadata, created)
              VALUES ('semantic', 'kept since then', '{"source": "runbook"}', 12.5)"""
    path = altered(tmp_path / "memory.db", FIRST, rows)
    with MemoryBundle(path) as bundle:
        assert set(bundle.initialize().values()) == {"ready"}
        [hit] = bundle.query("kept", deadline=10)["hits"]
    assert (hit["layer"], hit["metadata"], hit["created"]) == ("semantic", {"source": "runbook"}, 12.5)


def test_a_file_of_the_first_arrangement_that_cannot_be_taken_over_is_left_alone(tmp_path: Path) -> None:
    rows = "INSERT INTO record (layer, text, created) VALUES ('dreams', 'x', 0)"
    path = altered(tmp_path / "memory.db", FIRST, rows)
    with MemoryBundle(path) as bundle:
        statuses = bundle.initialize()
    assert all(
        'record 1 of this older file cannot be taken over (no layer "dreams"' in s for s in statuses.values()
    )
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT layer, text FROM record").fetchall() == [("dreams", "x")]


def test_a_damaged_layer_fails_alone(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    altered(path, "UPDATE semantic_index_data SET block = randomblob(length(block)) WHERE id > 10")
    with MemoryBundle(path) as bundle:
        statuses = bundle.initialize()
        assert "damaged" in statuses.pop("semantic") and set(statuses.values()) == {"ready"}
        answer = bundle.query("kept", deadline=10)
        assert len(answer["hits"]) == 3
        assert (
            str(path) in answer["failed_layers"]["semantic"]
            and "damaged" in answer["failed_layers"]["semantic"]
        )


def test_a_damaged_file_that_is_set_aside_is_begun_anew_by_the_bundle_that_had_it_open(
    tmp_path: Path,
) -> None:
    path = filled(tmp_path / "memory.db")
    altered(path, "UPDATE semantic_index_data SET block = randomblob(length(block)) WHERE id > 10")
    with MemoryBundle(path) as bundle:
        assert "damaged" in bundle.initialize()["semantic"]
        for end in ("", "-wal", "-shm"):
            os.rename(f"{path}{end}", f"{path}{end}.aside")
        assert set(bundle.initialize().values()) == {"ready"}
        bundle.remember("semantic", "a new beginning")
        other = "import sys; from neoabzu_memory import *; print(MemoryBundle(sys.argv[1]).stats()['layers'])"
        assert "'semantic': {'records': 1, 'words': 3" in run(other, path)


def test_flipped_bits_and_torn_files_are_errors_or_harmless(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db", 50)
    content = path.read_bytes()
    numbers = random.Random(5)
    failed = 0
    for _ in range(40):
        damaged = bytearray(content[: numbers.choice((len(content), numbers.randrange(len(content))))])
        for _ in range(numbers.randrange(1, 20)):
            if damaged:
                damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        path.write_bytes(damaged)
        with MemoryBundle(path) as bundle:
            statuses = bundle.initialize()
            answer = bundle.query("kept text 7")
            failed += any(status != "ready" for status in statuses.values()) or bool(answer["failed_layers"])
            try:
                bundle.remember("semantic", "more")
                bundle.stats()
            except BundleError:
                pass
    assert failed > 0


def test_something_other_than_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "file" / "memory.db"):
        with MemoryBundle(path) as bundle:
            with pytest.raises(StorageError, match=str(path)):
                bundle.remember("working", "text")
            assert all(status.startswith("error: ") for status in bundle.initialize().values())


@pytest.mark.parametrize("mode", [0o555, 0o755], ids=["folder and file", "file alone"])
def test_a_file_without_the_permission_to_write(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "logs"
    path = filled(folder / "memory.db")
    path.chmod(0o444)
    folder.chmod(mode)
    found, wrote, statuses = run(READ_ONLY, path, before=plain_user()).splitlines()
    if mode == 0o755:
        assert found.startswith("['kept text 0', 'kept text 0'")
    else:
        # Without its companion files SQLite cannot know that nobody writes.
        assert found.startswith("[] ") and str(path) in found
    assert wrote.startswith("ReadOnlyError cannot remember: ") and str(path) in wrote
    assert statuses == "['error:']"
    folder.chmod(0o755)
    path.chmod(0o644)
    with MemoryBundle(path) as bundle:
        assert set(bundle.initialize().values()) == {"ready"}


def test_a_file_on_a_disk_that_may_not_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = filled(disk / "memory.db")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with MemoryBundle(path) as bundle, pytest.raises(ReadOnlyError, match=str(path)):
            bundle.remember("working", "text")
        with MemoryBundle(disk / "other.db") as bundle, pytest.raises(ReadOnlyError, match=r"other\.db"):
            bundle.remember("working", "text")
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        with MemoryBundle(path) as bundle:
            assert len(bundle.query("kept", deadline=10)["hits"]) == 4


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_without_room_nothing_is_lost_and_it_goes_on(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk") if kind == "disk" else nullcontext(tmp_path) as folder:
        path = folder / "memory.db"
        process = start(FILL, path, 0 if kind == "disk" else 900_000)
        assert process.stdout is not None
        kept, _, error = process.stdout.readline().partition(" ")
        assert error.startswith(f"cannot remember: {path}: ") and "nothing was changed" in error
        assert process.stdout.readline() == "1 {}\n"
        if kind == "disk":
            subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
        assert finish(process, "\n") == f"{int(kept) + 1}\n"
        assert int(kept) > 0
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
