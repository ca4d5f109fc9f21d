"""Which ports of this machine somebody listens on: one question to the kernel for all of them.

A component that does not listen yet refuses a probe. Asking each of two hundred such components
every few milliseconds takes a whole processor; the kernel names all listening sockets at once in a
tenth of a millisecond (sock_diag(7)). What it says is a hint when to ask, never an answer: where a
port is redirected, nobody need listen on it.
"""

from __future__ import annotations

import asyncio
import socket
import struct

__all__ = ["Listeners", "listening_ports"]

#: Seconds between two looks: the shortest, and in relation to the time the youngest has waited and
#: to what a look takes.
SHORTEST = 0.001
GROWTH = 0.03
SHARE = 10
#: Seconds of work that an attempt in vain takes.
ATTEMPT = 100e-6
#: Seconds after which one asks all the same.
ANYWAY = 0.25

_NETLINK_SOCK_DIAG = 4  # linux/netlink.h
_BY_FAMILY = 20  # linux/sock_diag.h
_REQUEST_DUMP = 0x301
_DONE, _ERROR = 3, 2
_LISTEN = 1 << 10
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
_HEAD = struct.Struct("=IH").unpack_from


def listening_ports() -> set[int]:
    """Return the TCP ports of all listening sockets of this network namespace; raises OSError."""
    ports: set[int] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG) as sock:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
            header = _HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST_DUMP, family, 0)
            sock.sendto(header + request, (0, 0))
            while _take(sock.recv(1 << 15), ports):
                pass
    return ports


def _take(data: bytes, ports: set[int]) -> bool:
    """Collect the ports of one datagram; returns whether another one follows."""
    at = 0
    while at < len(data):
        length, kind = _HEAD(data, at)
        if kind == _DONE:
            return False
        if kind == _ERROR:
            raise OSError("the kernel does not tell who listens")
        ports.add(data[at + 20] << 8 | data[at + 21])  # After the header and four bytes: big-endian.
        at += (length + 3) & ~3
    return True


class Listeners:
    """Wakes whoever waits for a port when somebody listens on it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._youngest = 0.0
        self._cost = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._usable = True

    async def wait(self, port: int, since: float, pause: float, asking: int) -> None:
        """Return when the port is listened on, or when another attempt is due all the same.

        ``since`` is the loop's time from which the caller has been waiting, ``pause`` how long it
        would sleep if nobody woke it, ``asking`` how many there are like it: where many sockets
        listen, it may be cheaper that a few ask for themselves.
        """
        if not self._usable or asking * ATTEMPT < self._cost:
            await asyncio.sleep(pause)
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting[waiter] = port
        self._youngest = max(self._youngest, since)
        self._look_soon()
        timer = self._loop.call_later(max(pause, ANYWAY), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.pop(waiter, None)

    def _look_soon(self) -> None:
        now = self._loop.time()
        due = now + max(SHORTEST, GROWTH * (now - self._youngest), SHARE * self._cost)
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        began = self._loop.time()
        try:
            ports = listening_ports()
        except OSError:
            self._usable = False  # From now on every pause is slept.
            return
        for waiter, port in self._waiting.items():
            if port in ports:
                _wake(waiter)
        self._cost = self._loop.time() - began
        self._look_soon()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
