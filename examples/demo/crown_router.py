"""A small HTTP service that is ready when the service it routes to answers."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

import msgspec


class Health(msgspec.Struct):
    """The answer to a health check."""

    ready: bool
    upstream: str


def upstream_answers() -> bool:
    """Whether the service behind the router is there."""
    try:
        with urllib.request.urlopen(os.environ["UPSTREAM"] + "/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Handler(BaseHTTPRequestHandler):
    """Answers ``/healthz``."""

    def do_GET(self) -> None:
        """Answer one request."""
        health = Health(ready=upstream_answers(), upstream=os.environ["UPSTREAM"])
        body = msgspec.json.encode(health)
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Type", "application/json")
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
        print(f"routing on 127.0.0.1:{sys.argv[1]}")
        server.serve_forever()
