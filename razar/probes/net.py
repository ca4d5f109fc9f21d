"""Sockets for probes: non-blocking, without a stream or task per connection, with one deadline."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from typing import Any

from razar.probes.base import ProbeError

__all__ = ["close", "connect", "is_loopback", "loopback_addresses", "receive", "send"]

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
_RESET = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, 0 seconds


def loopback_addresses(host: str, port: int) -> list[Address]:
    """Return the addresses of ``localhost`` and of literal addresses; nothing for other names."""
    if host.lower() == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        return []
    return [(family, (host, port))]


def is_loopback(host: str) -> bool:
    """Tell whether a host of a probe can only be this machine."""
    return host.lower() in ("localhost", "::1") or (
        host.startswith("127.") and bool(loopback_addresses(host, 0))
    )


async def connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address that accepts; raises ProbeError or TimeoutError."""
    found = loopback_addresses(host, port) or await _resolve(host, port, deadline)
    loop = asyncio.get_running_loop()
    error = 0
    for left, (family, address) in zip(range(len(found), 0, -1), found, strict=True):
        share = deadline if left == 1 else loop.time() + (deadline - loop.time()) / left
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as failure:
            if failure.errno == errno.EAFNOSUPPORT:
                continue
            raise ProbeError(f"cannot open a socket: {failure.strerror}") from None
        try:
            error = sock.connect_ex(address)
            if error == errno.EINPROGRESS:
                error = sock.connect_ex(address)  # On loopback the answer is there already.
            if error == errno.EALREADY:
                await _wait(sock, deadline=share, writing=True)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error == 0 and sock.getsockname() != sock.getpeername():
                return sock
            if error == 0:
                # Nobody listens: the kernel has picked the very port as our own, and we met ourselves.
                error = errno.ECONNREFUSED
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
        except TimeoutError:
            sock.close()
            if left == 1:
                raise
        except OSError as failure:  # The peer was gone before we could ask for its name.
            error = failure.errno or errno.ECONNRESET
            sock.close()
        except BaseException:
            sock.close()
            raise
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error == errno.ECONNREFUSED:
        raise ProbeError(f"connection to {where} refused", unheard=port if is_loopback(host) else None)
    raise ProbeError(f"cannot connect to {where}: {os.strerror(error) if error else 'no address'}")


async def send(sock: socket.socket, data: bytes, deadline: float) -> None:
    """Send everything."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await _wait(sock, deadline, writing=True)
        except OSError as error:
            raise ProbeError(f"the connection was closed: {error.strerror}") from None


async def receive(sock: socket.socket, deadline: float) -> bytes:
    """Receive what there is, at least one byte; nothing at the end."""
    while True:
        try:
            return sock.recv(65536)
        except BlockingIOError:
            await _wait(sock, deadline)
        except OSError as error:
            raise ProbeError(f"the connection was closed: {error.strerror}") from None


def close(sock: socket.socket, *, ended: bool) -> None:
    """Close; ``ended`` if the peer has closed its side.

    In that case a reset spares the peer a minute of TIME_WAIT on the port it wants to bind again.
    """
    if ended:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


async def _wait(sock: socket.socket, deadline: float, *, writing: bool = False) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[bool] = loop.create_future()
    descriptor = sock.fileno()
    (loop.add_writer if writing else loop.add_reader)(descriptor, _settle, waiter, True)
    timer = loop.call_at(deadline, _settle, waiter, False)
    try:
        if not await waiter:
            raise TimeoutError
    finally:
        timer.cancel()
        (loop.remove_writer if writing else loop.remove_reader)(descriptor)


def _settle(waiter: asyncio.Future[Any], result: object) -> None:
    if not waiter.done():
        waiter.set_result(result)


_lookups: dict[tuple[str, int], asyncio.Future[list[Address] | OSError]] = {}


async def _resolve(host: str, port: int, deadline: float) -> list[Address]:
    """Ask the resolver in a thread that nobody waits for when it hangs, one per name at a time."""
    loop = asyncio.get_running_loop()
    key = (host, port)
    lookup = _lookups.get(key)
    if lookup is None or lookup.get_loop() is not loop:
        lookup = _lookups[key] = loop.create_future()
        lookup.add_done_callback(lambda _: _lookups.pop(key, None))
        threading.Thread(target=_look_up, args=(host, port, lookup, loop), daemon=True).start()
    await asyncio.wait([lookup], timeout=max(0.0, deadline - loop.time()))
    if not lookup.done():
        raise ProbeError(f"the name {host} was not resolved in time")
    result = lookup.result()
    if isinstance(result, OSError):
        raise ProbeError(f"the name {host} cannot be resolved: {result.strerror}")
    return result


def _look_up(
    host: str, port: int, lookup: asyncio.Future[list[Address] | OSError], loop: asyncio.AbstractEventLoop
) -> None:
    result: list[Address] | OSError
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        result = [(family, address) for family, _, _, _, address in infos]
    except OSError as error:
        result = error
    except UnicodeError:
        result = OSError(errno.EINVAL, "not a host name")
    try:
        loop.call_soon_threadsafe(_settle, lookup, result)
    except RuntimeError:
        pass  # The loop has been closed meanwhile.
