"""A small router over HTTP: GET /route/KIND says which service answers that kind of request."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from routes import parse_routes, route

ROUTES = parse_routes(os.environ["ROUTES"])
CHAT = route(ROUTES, "chat")


class Handler(BaseHTTPRequestHandler):
    """Answers ``/healthz`` and ``/route/KIND``."""

    def do_GET(self) -> None:
        """Answer one request."""
        known = self.path == "/healthz" or self.path.startswith("/route/")
        body = route(ROUTES, self.path.rpartition("/")[2]).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing about health checks."""


class Server(ThreadingTCPServer):
    """Binds without looking up the machine's name."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print(f"routing {', '.join(ROUTES)} on 127.0.0.1:{sys.argv[1]}")
        server.serve_forever()
