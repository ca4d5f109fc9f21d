"""The socket under an HTTP exchange: deadlines, a largest size, and a way to end it from elsewhere."""

from __future__ import annotations

import io
import socket
import threading
import time
from typing import Any

from msgspec import Struct

from agents.razar.errors import AgentTimeoutError, AnswerTooLargeError, BrokenConnectionError

__all__ = ["ANSWER_LIMIT", "Clock", "Handle", "Limits", "Wire"]

#: Largest body of an answer, in bytes.
ANSWER_LIMIT = 4 * 1024 * 1024
#: What head, chunk sizes and trailers may add to that, in bytes.
_OVERHEAD = 1024 * 1024
_PIECE = 64 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """Seconds for each phase and for the whole, and bytes for the answer's body.

    A model thinks before the first byte of its answer: that wait has no limit but ``total``.
    """

    total: float = 60.0
    resolve: float = 5.0
    connect: float = 10.0
    tls: float = 10.0
    send: float = 20.0
    receive: float = 30.0
    answer: int = ANSWER_LIMIT


class Handle:
    """Ends an exchange at once, from any thread: whatever it waits for is woken."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._twin: socket.socket | None = None
        self._wake: threading.Event | None = None

    def cancel(self) -> None:
        """End it; returns at once."""
        with self._lock:
            self.cancelled.set()
            if self._wake is not None:
                self._wake.set()
            if self._twin is not None:
                _shut(self._twin)

    def watch(self, connection: socket.socket) -> None:
        """Hold a second descriptor of the socket: the first may be closed, or wrapped in TLS, meanwhile."""
        self.release()
        with self._lock:
            self._twin = connection.dup()
            if self.cancelled.is_set():
                _shut(self._twin)

    def wake(self, event: threading.Event) -> None:
        """Set this event too."""
        with self._lock:
            self._wake = event
            if self.cancelled.is_set():
                event.set()

    def release(self) -> None:
        """Give the second descriptor back."""
        with self._lock:
            if self._twin is not None:
                self._twin.close()
                self._twin = None


def _shut(twin: socket.socket) -> None:
    try:
        twin.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # Not connected any more.


class Clock:
    """The deadline of the whole and that of the present phase, in monotonic seconds."""

    def __init__(self, shown: str, total: float, handle: Handle | None = None) -> None:
        self.shown = shown
        self.handle = handle or Handle()
        self.began = time.monotonic()
        self._end = self.began + total
        self._total = total
        self.enter("starting", total)

    def enter(self, phase: str, seconds: float) -> None:
        self._phase = phase
        self._seconds = seconds
        self._phase_end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds until the nearer deadline; raises AgentTimeoutError once it has passed."""
        if self.handle.cancelled.is_set():
            raise BrokenConnectionError(f"{self.shown}: cancelled while {self._phase}")
        seconds = min(self._end, self._phase_end) - time.monotonic()
        if seconds <= 0:
            raise self.passed()
        return seconds

    def passed(self) -> AgentTimeoutError:
        limit = self._total if self._end <= self._phase_end else self._seconds
        return AgentTimeoutError(f"{self.shown}: gave up while {self._phase}, after {limit:g} s")


class Wire:
    """A socket as http.client wants one, whose every operation heeds the deadlines."""

    def __init__(self, connection: socket.socket, clock: Clock, limits: Limits) -> None:
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._shown = clock.shown

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._connection.settimeout(self._clock.remaining())
            view = view[self._connection.send(view[:_PIECE]) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._connection, self._clock, self), _PIECE)

    def close(self) -> None:
        """The caller of ``exchange`` owns the socket's end: the answer is still being read."""

    def too_large(self) -> AnswerTooLargeError:
        return AnswerTooLargeError(f"{self._shown}: the answer is larger than {self._limits.answer:,} bytes")

    @property
    def budget(self) -> int:
        """Bytes that may come in all."""
        return self._limits.answer + _OVERHEAD


class _Incoming(io.RawIOBase):
    def __init__(self, connection: socket.socket, clock: Clock, wire: Wire) -> None:
        self._connection = connection
        self._clock = clock
        self._wire = wire
        self._left = wire.budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._clock.remaining())
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise self._wire.too_large()
        return count
