"""A server in threads that answers with whatever bytes a test wants, and remembers the requests."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

__all__ = ["Behaviour", "Request", "Server", "answering", "http", "serving"]


class Request(Struct):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server(Struct):
    """``released`` is set when the test is over: behaviours that never end must heed it."""

    port: int
    requests: list[Request]
    released: threading.Event

    def url(self, path: str = "/v1/chat/completions", scheme: str = "http") -> str:
        return f"{scheme}://localhost:{self.port}{path}"


Behaviour = Callable[[socket.socket, Request, threading.Event], None]


def http(body: bytes | str | Any, status: int = 200, *, length: int | None = None, **headers: str) -> bytes:
    """The bytes of an answer; what is neither bytes nor text becomes JSON."""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answering(*answers: bytes) -> Behaviour:
    """One answer for each request, in order; the last one for all that follow."""
    left = list(answers)

    def behave(connection: socket.socket, request: Request, released: threading.Event) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return behave


@contextmanager
def serving(
    behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Server]:
    listener = socket.create_server((host, 0))
    server = Server(port=listener.getsockname()[1], requests=[], released=threading.Event())
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(30)
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                with connection:
                    request = _read(connection)
                    server.requests.append(request)
                    behaviour(connection, request, server.released)
        except (OSError, ValueError):
            pass  # The client went away, as it should.

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threads.append(threading.Thread(target=converse, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        server.released.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join()


def _read(connection: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError("no request")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Request(method, path, headers, body)
