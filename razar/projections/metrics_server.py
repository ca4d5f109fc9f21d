"""The HTTP end of the metrics: ``/metrics`` and ``/healthz`` on one port, in daemon threads.

A few lines of HTTP on ``socketserver`` instead of ``http.server``, whose import would cost a boot
as much as ten ignitions. Connections are closed after one answer.
"""

from __future__ import annotations

import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from razar.utils.files import why

if TYPE_CHECKING:
    from razar.metrics import Store

__all__ = ["serve", "stop"]

PORT = 9360
HOST = "127.0.0.1"
#: Seconds a client may take to send its request, and to take the answer.
PATIENCE = 5.0
#: Longest head of a request, in bytes.
HEAD_LIMIT = 16 * 1024
#: Connections at once. One more takes the place of the one whose request we have waited for the longest,
#: so that requests nobody finishes keep no other out; it is closed unanswered if all are being answered.
CONNECTIONS = 32
#: Seconds in which a thread that has lost its connection must have noticed.
NOTICED = 1.0

_lock = threading.Lock()
_running: _Server | None = None


def serve(port: int | None, host: str | None, report: Callable[[str], None], store: Store) -> int | None:
    """See :func:`razar.metrics.init_metrics`."""
    global _running
    from importlib.util import find_spec

    with _lock:
        if _running is not None and _running.owner == os.getpid():
            return _running.port
        if _running is not None:
            # A copy of the parent's server after a fork: the socket is ours, its thread is not.
            _running.socket.close()
            _running = None
        if find_spec("prometheus_client") is None:
            report("metrics are off: prometheus_client is not installed (pip install prometheus-client)")
            return None
        address = _host(host, report)
        wanted = _port(port, report)
        try:
            _running = _Server((address, wanted), store)
        except OSError as fault:
            report(_refused(address, wanted, fault))
            return None
        thread = threading.Thread(
            target=_running.serve_forever, args=(3600.0,), name="razar-metrics", daemon=True
        )
        thread.start()
        return _running.port


def stop() -> None:
    """Stop serving; the next ``init_metrics`` begins anew."""
    global _running
    with _lock:
        server, _running = _running, None
    if server is None:
        return
    if server.owner == os.getpid():
        # shutdown() is noticed at the end of a poll: a connection ends the present one.
        waker = threading.Thread(target=server.shutdown, daemon=True)
        waker.start()
        while waker.is_alive():
            try:
                socket.create_connection((server.host, server.port), 1.0).close()
            except OSError:
                pass
            waker.join(0.005)
    server.server_close()


def _port(port: int | None, report: Callable[[str], None]) -> int:
    if port is not None:
        return port
    text = os.environ.get("RAZAR_METRICS_PORT", "").strip()
    if not text:
        return PORT
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    report(f"RAZAR_METRICS_PORT is {text[:40]!r}, not a port from 0 to 65535; {PORT} is used")
    return PORT


def _host(host: str | None, report: Callable[[str], None]) -> str:
    text = host if host is not None else os.environ.get("RAZAR_METRICS_HOST", "").strip()
    if not text:
        return HOST
    if text == "localhost":
        return HOST
    # No names: to resolve one could block, and binds to whatever a name server says.
    if _is_address(text):
        return text
    report(f"RAZAR_METRICS_HOST is {text[:80]!r}, not an IP address; {HOST} is used")
    return HOST


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _refused(address: str, port: int, fault: OSError) -> str:
    import errno

    if fault.errno != errno.EADDRINUSE:
        return f"metrics are off: cannot listen on {address} port {port}: {why(fault)}"
    from razar.utils.ports import holder

    who = holder(port) or "another process"
    return f"metrics are off: port {port} is taken by {who}; set RAZAR_METRICS_PORT to another one"


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, address: tuple[str, int], store: Store) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.owner = os.getpid()
        self.store = store
        self.began = time.monotonic()
        self.local = address[0] in ("::1", "::ffff:127.0.0.1") or address[0].startswith("127.")
        self.slots = threading.BoundedSemaphore(CONNECTIONS)
        #: The connections whose requests are not there yet, oldest first.
        self.reading: dict[socket.socket, None] = {}
        self.changing = threading.Lock()
        self.registry: Any = None
        self.rendering = threading.Lock()
        super().__init__(address, _Handler)
        self.host = address[0]
        self.port: int = self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.slots.acquire(blocking=False) and not self._make_room():
            self.shutdown_request(request)
            return
        with self.changing:
            self.reading[request] = None
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread to be had.
            self.has_read(request)
            self.slots.release()
            self.shutdown_request(request)

    def has_read(self, request: socket.socket) -> None:
        """A request is there, or will never be: its client is no longer waited for."""
        with self.changing:
            self.reading.pop(request, None)

    def _make_room(self) -> bool:
        with self.changing:
            slowest = next(iter(self.reading), None)
            if slowest is None:
                return False
            del self.reading[slowest]
        try:
            slowest.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It has left in this instant.
        return self.slots.acquire(timeout=NOTICED)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or sent nonsense concerns nobody."""

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text for Prometheus and its media type."""
        with self.rendering:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import choose_encoder

            if self.registry is None:
                self.registry = CollectorRegistry()
                self.registry.register(_Collector(self.store))
            encode, media_type = choose_encoder(accept)
            return encode(self.registry), media_type


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.method = "GET"
        self.request.settimeout(PATIENCE)
        try:
            head = self._read_head()
        finally:
            self.server.has_read(self.request)
        if head is None:
            return
        self.method, path, headers = head
        if not self._known_host(headers.get("host")):
            self._answer(403, b"this name is not one of this machine's\n")
        elif self.method not in ("GET", "HEAD"):
            self._answer(405, b"only GET and HEAD\n", extra="Allow: GET, HEAD\r\n")
        elif path == "/healthz":
            import msgspec

            body = self.server.store.health() | {"seconds": round(time.monotonic() - self.server.began, 3)}
            self._answer(200, msgspec.json.encode(body), "application/json")
        elif path == "/metrics":
            text, media_type = self.server.render(headers.get("accept", ""))
            self._answer(200, text, media_type)
        else:
            self._answer(404, b"there is /metrics and /healthz\n")

    def _read_head(self) -> tuple[str, str, dict[str, str]] | None:
        deadline = time.monotonic() + PATIENCE
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > HEAD_LIMIT or time.monotonic() > deadline:
                self._answer(431 if len(data) > HEAD_LIMIT else 408, b"")
                return None
            piece = self.request.recv(4096)
            if not piece:
                return None
            data += piece
        lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._answer(400, b"not an HTTP/1 request\n")
            return None
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return words[0], words[1].partition("?")[0], headers

    def _known_host(self, host: str | None) -> bool:
        """Refuse foreign names on loopback: a web page may point its own name there (DNS rebinding)."""
        if not self.server.local or host is None:
            return True
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return name.lower() in ("localhost", "") or _is_address(name)

    def _answer(
        self, status: int, body: bytes, media_type: str = "text/plain; charset=utf-8", extra: str = ""
    ) -> None:
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {media_type}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
            f"X-Content-Type-Options: nosniff\r\n{extra}Connection: close\r\n\r\n"
        )
        self.request.sendall(head.encode("latin-1") + (b"" if self.method == "HEAD" else body))


_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
}


class _Collector:
    """Turns the store into the families of prometheus_client, at every scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        from razar.metrics import TABLE

        for metric in TABLE:
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, buckets, total in self._store.histograms(metric):
                    histogram.add_metric(labels, buckets, total)
                yield histogram
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
            for labels, value in self._store.samples(metric):
                family.add_metric(labels, value)
            yield family
