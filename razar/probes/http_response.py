"""An HTTP/1.x response, understood piece by piece (RFC 9112), bounded in size."""

from __future__ import annotations

from razar.probes.base import ProbeError

__all__ = ["BODY_LIMIT", "Response"]

#: Most bytes kept of the body, and most bytes of the head.
BODY_LIMIT = 64 << 10
HEAD_LIMIT = 32 << 10


class Response:
    """Feed it bytes until it is complete. Names of headers are in lower case."""

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.has_head = False
        self.complete = False
        self.truncated = False
        self.closes = False
        self._buffer = bytearray()
        self._left: int | None = None
        self._chunked = False

    def feed(self, data: bytes) -> None:
        """Take more bytes; raises ProbeError if they are not HTTP."""
        self._buffer += data
        while not self.has_head:
            if not self._take_head():
                return
        if self._chunked:
            while not self.complete and self._take_chunk():
                pass
        else:
            self._take(len(self._buffer) if self._left is None else min(self._left, len(self._buffer)))
            if self._left == 0:
                self.complete = True

    def end(self) -> None:
        """Note that the peer has closed the connection; raises ProbeError if something is missing."""
        if not self.has_head:
            raise ProbeError(
                "the connection was closed before the end of the answer"
                if self._buffer
                else "the connection was closed without an answer"
            )
        if not self.complete and (self._chunked or self._left is not None):
            raise ProbeError(f"HTTP {self.status}, but its body was cut off")
        self.complete = True

    def _take_head(self) -> bool:
        buffer = self._buffer
        if not buffer.startswith(b"HTTP/"[: len(buffer)]):
            if buffer.startswith(b"\x15\x03"):
                raise ProbeError("the port speaks TLS: the probe should begin with https://")
            raise ProbeError(f"the answer is not HTTP: {bytes(buffer[:40])!r}")
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > HEAD_LIMIT:
                raise ProbeError(f"the head of the answer is larger than {HEAD_LIMIT} bytes")
            return False
        first, *fields = bytes(buffer[:end]).decode("latin-1").split("\r\n")
        del buffer[: end + 4]
        version, _, rest = first.partition(" ")
        code, _, reason = rest.partition(" ")
        if not (version.startswith("HTTP/1.") and len(code) == 3 and code.isascii() and code.isdigit()):
            raise ProbeError(f"the answer is not HTTP/1: {first[:40]!r}")
        self.status = int(code)
        if 100 <= self.status < 200 and self.status != 101:
            return True  # An interim answer; the real one follows.
        self.reason = reason
        for field in fields:
            name, _, value = field.partition(":")
            name, value = name.strip().lower(), value.strip()
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self._measure(version)
        self.has_head = True
        return True

    def _measure(self, version: str) -> None:
        connection = self.headers.get("connection", "").lower()
        self.closes = "close" in connection or (version == "HTTP/1.0" and "keep-alive" not in connection)
        length = self.headers.get("content-length")
        if self.status in (101, 204, 304):
            self._left = 0
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._chunked = True
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise ProbeError(f"the answer has the content-length {length[:40]!r}")
            self._left = int(length)

    def _take(self, count: int) -> None:
        """Move bytes from the buffer to the body."""
        room = BODY_LIMIT - len(self.body)
        self.body += self._buffer[: min(count, room)]
        del self._buffer[:count]
        if self._left is not None:
            self._left -= count
        if count > room:
            self.truncated = self.complete = True

    def _take_chunk(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\r\n")
        if end < 0:
            if len(buffer) > HEAD_LIMIT:
                raise ProbeError("a chunk of the answer has no size")
            return False
        digits = bytes(buffer[:end]).partition(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            raise ProbeError(f"a chunk of the answer has the size {digits[:20]!r}") from None
        if size == 0:
            self.complete = True  # Trailers say nothing about health.
            return False
        if size > BODY_LIMIT - len(self.body):
            del buffer[: end + 2]
            self._take(BODY_LIMIT - len(self.body))
            self.truncated = self.complete = True
            return False
        if len(buffer) < end + 2 + size + 2:
            return False
        del buffer[: end + 2]
        self._take(size)
        del buffer[:2]
        return True
