from collections.abc import Iterable
from os import PathLike
from types import TracebackType
from typing import Any, TypedDict

#: Working: this mission. Episodic: what happened. Semantic: documents, facts. Procedural: what helped.
LAYERS: tuple[str, ...]
#: Version of the records this package writes and reads; newer ones are refused.
SCHEMA: int

class BundleError(Exception):
    """The memory could not do what was asked; the message says why and what to do."""

class InvalidInputError(BundleError, ValueError):
    """An argument is empty, too large, out of range or not text."""

class ClosedError(BundleError):
    """The bundle was closed."""

class BusyError(BundleError):
    """Another writer held the file for longer than the busy timeout."""

class DeadlineError(BundleError):
    """The time for reading ran out."""

class SchemaError(BundleError):
    """The file holds records of a newer schema."""

class CorruptError(BundleError):
    """The file is damaged, or it is not a memory file."""

class ReadOnlyError(BundleError):
    """The file, its folder or its file system may not be written."""

class FullError(BundleError):
    """The disk, a quota or a file size limit is used up; nothing was changed."""

class ForkedError(BundleError):
    """The process was forked while the file was open."""

class StorageError(BundleError):
    """The file system or SQLite reports another error."""

class InternalError(BundleError):
    """The implementation failed; this is a defect of it, not of the call."""

class Hit(TypedDict):
    """A record that answers a query."""

    layer: str
    #: For ``forget``.
    id: str
    #: BM25 over all layers; higher is better.
    score: float
    text: str
    metadata: dict[str, Any]
    #: Epoch seconds.
    created: float

class Answer(TypedDict):
    """What a query found, best first."""

    hits: list[Hit]
    #: Layers that could not be asked, and why. They have no hits.
    failed_layers: dict[str, str]
    #: Seconds.
    elapsed: float

class LayerStats(TypedDict):
    """What one layer holds."""

    records: int
    words: int
    schema: int

class Stats(TypedDict):
    """What a bundle holds."""

    path: str
    #: Of the file and its write-ahead log.
    bytes: int
    layers: dict[str, LayerStats]
    #: Different failures, and different repairs of them.
    failures: int
    repairs: int

class Repair(TypedDict):
    """A repair that held at least once."""

    #: As it was recorded.
    repair: dict[str, Any]
    #: How often it held, and did not.
    held: int
    failed: int
    #: How much it can be relied on, 0 to 1.
    score: float
    #: When it was first and last recorded; epoch seconds.
    first: float
    last: float

class MemoryBundle:
    """A mission's memory in one file. Threads may share it; other processes may use the same file.

    ``path`` defaults to ``razar_memory.db`` in ``$RAZAR_LOGS``, else in ``logs``. Nothing is opened before
    the first call that needs it; the file and its folder are then made. A write waits at most
    ``busy_timeout`` seconds for other writers. Raises BundleError, and TypeError for what has the wrong type.
    """

    def __new__(cls, path: str | PathLike[str] | None = None, busy_timeout: float = 5.0) -> MemoryBundle: ...
    @property
    def path(self) -> str:
        """The absolute path of the file."""

    def initialize(self) -> dict[str, str]:
        """Write to each layer, read it back, check its schema: ``{layer: "ready" | "error: …"}``."""

    def remember(
        self, layer: str, text: str, *, metadata: dict[str, Any] | None = None, key: str | None = None
    ) -> str:
        """Keep a text, and return its id. A record of the layer with the same ``key`` is replaced.

        ``text`` has up to 1 MiB, ``metadata`` (a dict of JSON values) 64 KiB, ``key`` 512 bytes.
        """

    def remember_many(self, layer: str, items: Iterable[dict[str, Any]]) -> list[str]:
        """Keep all of ``{"text": …, "metadata": …, "key": …}`` or none, and return their ids.

        Up to 100,000 records of 256 MiB together.
        """

    def query(
        self,
        text: str,
        *,
        layers: Iterable[str] | None = None,
        limit: int = 10,
        deadline: float = 0.25,
    ) -> Answer:
        """Search for the words of a text; a layer that fails or is too slow is named in the answer.

        ``limit`` is 1 to 1000, ``deadline`` in seconds, up to 60.
        """

    def forget(self, id: str) -> bool:
        """Remove a record; False if there was none."""

    def stats(self) -> Stats:
        """Count what there is."""

    def record_failure(self, component: str, error_class: str, error: str) -> str:
        """Count a failure, keep it in the episodic layer, and return its fingerprint."""

    def record_repair(self, fingerprint: str, repair: dict[str, Any], held: bool) -> None:
        """Record that a repair (a dict of JSON values, up to 64 KiB) of a failure held, or did not."""

    def recall_repair(self, fingerprint: str) -> list[Repair]:
        """Return the repairs of a failure that held, the most reliable first, at most 100."""

    def close(self) -> None:
        """Close the file; every later call but this one raises ClosedError, or tells of it as `initialize` does."""

    def __enter__(self) -> MemoryBundle: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

def fingerprint(component: str, error_class: str, error: str) -> str:
    """Return the name of a failure: 32 hexadecimal digits.

    It is the same for the same component, class and error text, where addresses, numbers, paths, times and
    hexadecimal identifiers in the text do not count.
    """
