"""Who keeps and finds records in the benchmark of the memory: the bundle, plain Python over sqlite3, tantivy."""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

#: Where the records go in turn.
LAYERS = ("working", "episodic", "semantic", "procedural")
LIMIT = 10


class Keeper(ABC):
    """Keeps numbered texts and finds the best ten for a query."""

    name: str
    path: str

    @abstractmethod
    def keep(self, first: int, texts: Sequence[str]) -> None:
        """Keep texts, numbered from ``first``; afterwards the death of the process does not lose them."""

    @abstractmethod
    def ask(self, query: str) -> list[tuple[int, str]]:
        """Return number and text of the best."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def settle(self) -> None:
        """Finish what goes on behind the scenes; nothing more is kept."""

    def size(self) -> int:
        """Bytes on disk."""
        if os.path.isfile(self.path):
            ends = ("", "-wal")
            return sum(os.path.getsize(self.path + end) for end in ends if os.path.exists(self.path + end))
        return sum(entry.stat().st_size for entry in os.scandir(self.path))


def layer(number: int) -> str:
    """The layer of a whole batch."""
    return LAYERS[number // 1000 % len(LAYERS)]


class Bundle(Keeper):
    """The memory bundle."""

    name = "memory bundle"

    def __init__(self, folder: str) -> None:
        from neoabzu_memory import MemoryBundle

        self.path = os.path.join(folder, "bundle.db")
        self._bundle = MemoryBundle(self.path)

    def keep(self, first: int, texts: Sequence[str]) -> None:
        if len(texts) == 1:
            self._bundle.remember(layer(first), texts[0], metadata={"n": first})
            return
        items = [{"text": text, "metadata": {"n": first + at}} for at, text in enumerate(texts)]
        self._bundle.remember_many(layer(first), items)

    def ask(self, query: str) -> list[tuple[int, str]]:
        answer = self._bundle.query(query, deadline=10)
        if answer["failed_layers"]:
            raise SystemExit(f"layers failed: {answer['failed_layers']}")
        return [(hit["metadata"]["n"], hit["text"]) for hit in answer["hits"]]

    def settle(self) -> None:
        pass

    def close(self) -> None:
        self._bundle.close()


class Sqlite(Keeper):
    """What one would write in Python: a table, an FTS5 index over it, and FTS5's own ranking."""

    name = "Python, sqlite3"

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "sqlite.db")
        self._database = sqlite3.connect(self.path, isolation_level=None)
        self._database.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL;
            PRAGMA cache_size = -65536;
            CREATE TABLE record (id INTEGER PRIMARY KEY, layer TEXT, text TEXT, metadata TEXT, created REAL);
            CREATE VIRTUAL TABLE record_index USING fts5(
                text, content = 'record', content_rowid = 'id', tokenize = 'porter unicode61');
            """
        )

    def keep(self, first: int, texts: Sequence[str]) -> None:
        rows = [(first + at + 1, layer(first), text, "{}", 0.0) for at, text in enumerate(texts)]
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
        index = "INSERT INTO record_index (rowid, text) VALUES (?, ?)"
        database.executemany(index, [(row[0], row[2]) for row in rows])
        database.execute("COMMIT")

    def ask(self, query: str) -> list[tuple[int, str]]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(query.split()))
        found = self._database.execute(
            f"""
            SELECT id, layer, record.text, metadata, created, rank FROM record_index
            JOIN record ON record.id = record_index.rowid
            WHERE record_index MATCH ? ORDER BY rank LIMIT {LIMIT}
            """,
            (words,),
        )
        return [(row[0] - 1, row[2]) for row in found]

    def settle(self) -> None:
        pass

    def close(self) -> None:
        self._database.close()


class Tantivy(Keeper):
    """The search library, with its texts stored in the index."""

    name = "tantivy"

    def __init__(self, folder: str) -> None:
        import tantivy

        self.path = os.path.join(folder, "tantivy")
        os.mkdir(self.path)
        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("n", stored=True)
        builder.add_text_field("layer", stored=True, tokenizer_name="raw")
        builder.add_text_field("text", stored=True, tokenizer_name="en_stem")
        self._tantivy: Any = tantivy
        self._index = tantivy.Index(builder.build(), self.path)
        self._writer = self._index.writer()
        self._searcher: Any = None

    def keep(self, first: int, texts: Sequence[str]) -> None:
        for at, text in enumerate(texts):
            self._writer.add_document(self._tantivy.Document(n=first + at, layer=layer(first), text=text))
        self._writer.commit()

    def settle(self) -> None:
        self._writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def ask(self, query: str) -> list[tuple[int, str]]:
        parsed = self._index.parse_query(query, ["text"])
        found = self._searcher.search(parsed, LIMIT).hits
        documents = (self._searcher.doc(address) for _, address in found)
        return [(document["n"][0], document["text"][0]) for document in documents]

    def close(self) -> None:
        self._searcher = None
