"""The memory bundle on real files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from memory.bundle import LAYERS, SCHEMA, MemoryBundle


def test_every_layer_is_written_to_and_read_back(tmp_path: Path) -> None:
    for _ in range(2):
        with MemoryBundle(str(tmp_path / "logs" / "memory.db")) as bundle:
            assert bundle.initialize() == dict.fromkeys(LAYERS, "ready")
    with sqlite3.connect(tmp_path / "logs" / "memory.db") as database:
        assert database.execute("SELECT count(*) FROM record").fetchone() == (0,)
    database.close()


def test_a_file_that_is_no_database_is_an_error_of_every_layer(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"something else" * 100)
    with MemoryBundle(str(path)) as bundle:
        statuses = bundle.initialize()
    assert set(statuses) == set(LAYERS)
    assert all(status.startswith("error: ") and "not a database" in status for status in statuses.values())
    assert path.read_bytes() == b"something else" * 100


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    database.close()
    with MemoryBundle(str(path)) as bundle:
        assert all("newer version" in status for status in bundle.initialize().values())


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with MemoryBundle(str(tmp_path / "file" / "memory.db")) as bundle:
        assert all(status.startswith("error: ") for status in bundle.initialize().values())


def test_a_writer_that_does_not_let_go_is_an_error_and_no_hang(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with MemoryBundle(str(path)) as bundle:
        bundle.initialize()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with MemoryBundle(str(path)) as bundle:
        assert all("locked" in status for status in bundle.initialize().values())
    other.close()
