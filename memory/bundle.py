"""The memory bundle: four layers of a mission's memory in one database file.

This is the small beginning of it: the layers exist, are really written to and read back, and say
whether they can be relied on. Remembering and searching follow with the Rust implementation.
"""

from __future__ import annotations

import os
import sqlite3
from types import TracebackType

__all__ = ["LAYERS", "SCHEMA", "MemoryBundle"]

#: Working: this mission. Episodic: incidents and repairs. Semantic: documents. Procedural: fixes that held.
LAYERS = ("working", "episodic", "semantic", "procedural")
#: Version of the tables, kept in the file; a newer one is refused.
SCHEMA = 1
#: Seconds to wait for another process that writes.
BUSY = 2.0


class MemoryBundle:
    """The memory in one file, by default ``logs/razar_memory.db``. Close it, or use it in a ``with``."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path or os.path.join("logs", "razar_memory.db")
        self._database: sqlite3.Connection | None = None

    def initialize(self) -> dict[str, str]:
        """Open the file and probe every layer; return ``ready`` or ``error: …`` for each."""
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            return dict.fromkeys(LAYERS, f"error: {self.path}: {error}")
        return {layer: self._probe(layer) for layer in LAYERS}

    def close(self) -> None:
        """Give the file back; a second time does nothing."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> MemoryBundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        if self._database is not None:
            return
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), mode=0o750, exist_ok=True)
        # SQLite gives its companions the mode of the file itself.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        database = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found > SCHEMA:
                raise sqlite3.DatabaseError(
                    f"written by a newer version (schema {found}, {SCHEMA} is the newest known here)"
                )
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "CREATE TABLE IF NOT EXISTS record (id INTEGER PRIMARY KEY, layer TEXT NOT NULL, "
                "text TEXT NOT NULL, metadata TEXT NOT NULL DEFAULT '{}', created REAL NOT NULL)"
            )
            database.execute("CREATE INDEX IF NOT EXISTS record_layer ON record (layer, created)")
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        self._database = database

    def _probe(self, layer: str) -> str:
        """Write a record, read it back, take it out again."""
        database = self._database
        assert database is not None
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                insert = "INSERT INTO record (layer, text, created) VALUES (?, 'probe', 0) RETURNING id"
                (number,) = database.execute(insert, (layer,)).fetchone()
                row = database.execute("SELECT layer, text FROM record WHERE id = ?", (number,)).fetchone()
            finally:
                database.execute("ROLLBACK")
        except sqlite3.Error as error:
            return f"error: {error}"
        return "ready" if row == (layer, "probe") else f"error: read back {row!r}"
