"""Python tracebacks in a stream of lines, reduced to the exception that began each of them."""

from __future__ import annotations

from msgspec import Struct

from razar.utils.patterns import Pattern

__all__ = ["Raised", "TracebackReader"]

_START = "Traceback (most recent call last):"
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_EXCEPTION = Pattern(r"^(?P<type>[A-Za-z_][\w.]*)(?::(?: |$)|$)")
_GROUP = Pattern(r"^(?:\w+\.)*(?:Base)?ExceptionGroup: .* \(\d+ sub-exceptions?\)$", "ExceptionGroup")
#: The frame of an exception group, and the margin in which the boot log quotes a component.
_MARGIN = Pattern(r"^\s*(?:\| ?|\+-[-+]*(?: \d+ -+| -+)?|\+ (?=Exception Group))", "|", "+")
#: Where a missing environment variable comes to light.
_ENVIRON = Pattern(r'environ\[|File "(?:<frozen os>|[^"]*/os\.py)"', "environ[", "<frozen os>", "/os.py")
#: What code catches on purpose to try something else; what it then did is the cause.
_TRIED = frozenset({"AttributeError", "IndexError", "KeyError", "LookupError", "StopIteration"})
_IMPORTS = frozenset({"ImportError", "ModuleNotFoundError"})
#: Lines of a message that may follow before the next exception of a chain.
_PATIENCE = 40


class Raised(Struct, frozen=True):
    """An exception: the line it stands in, its text, and whether it came out of ``os.environ``."""

    number: int
    text: str
    environ: bool

    @property
    def type(self) -> str:
        """The name of its class, without the module."""
        return self.text.partition(":")[0].rpartition(".")[2]


class TracebackReader:
    """Give it every line; it says which belong to tracebacks and returns their causes.

    The cause of a chain is its first exception: the one that others were raised from, or while
    it was handled. Only where code looked something up and did something else instead, and that
    failed, the later one counts.
    """

    def __init__(self) -> None:
        self._state = "outside"
        self._chain: list[Raised] = []
        self._cause = 0
        self._link = ""
        self._environ = False
        self._prefix = ""
        self._since = 0

    def feed(self, number: int, line: str) -> tuple[bool, list[Raised] | None]:
        """Return (the line belongs to a traceback, a finished chain with its cause first or None)."""
        if self._state == "outside" and _START not in line:
            return False, None
        body = self._strip(line)
        if _START in body:
            return True, self._start(body, line)
        if self._state == "frames":
            return self._in_frames(number, body)
        if self._state == "after":
            return self._after(body)
        return False, None

    def close(self) -> list[Raised] | None:
        """The chain that the end of the text has finished, if any."""
        return self._finish()

    def _start(self, body: str, line: str) -> list[Raised] | None:
        done = None
        if not self._link:
            done = self._finish()
            self._prefix = line[: line.index(_START)]
        self._state = "frames"
        self._environ = False
        return done

    def _in_frames(self, number: int, body: str) -> tuple[bool, list[Raised] | None]:
        if _ENVIRON.search(body):
            self._environ = True
        if not body.strip() or body[0].isspace():
            return True, None
        if _GROUP.match(body):
            # The parts of the group are the causes, each has a traceback of its own.
            self._state, self._link = "outside", ""
            return True, self._finish()
        if not _EXCEPTION.match(body):
            return False, self._finish()
        raised = Raised(number, body, self._environ)
        self._chain.append(raised)
        if len(self._chain) > 1 and self._supersedes(raised):
            self._cause = len(self._chain) - 1
        self._state, self._link, self._since = "after", "", 0
        return True, None

    def _supersedes(self, raised: Raised) -> bool:
        cause = self._chain[self._cause]
        if self._link == _CAUSE:
            return False
        if cause.type in _IMPORTS:
            return raised.type in _IMPORTS and "No module named" in raised.text
        return cause.type in _TRIED and not cause.environ

    def _after(self, body: str) -> tuple[bool, list[Raised] | None]:
        text = body.strip()
        if text in (_CAUSE, _CONTEXT):
            self._link = text
            return True, None
        self._since += 1
        if not text:
            return True, None
        if self._since > _PATIENCE:
            return False, self._finish()
        return False, None

    def _finish(self) -> list[Raised] | None:
        chain, cause = self._chain, self._cause
        self._state, self._chain, self._cause, self._link = "outside", [], 0, ""
        if not chain:
            return None
        return [chain[cause], *chain[:cause], *chain[cause + 1 :]]

    def _strip(self, line: str) -> str:
        if self._prefix and self._state != "outside" and line.startswith(self._prefix):
            line = line[len(self._prefix) :]
        for _ in range(8):
            margin = _MARGIN.match(line)
            if margin is None:
                break
            line = line[margin.end() :]
        return line.rstrip()
