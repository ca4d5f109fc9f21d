"""The simplest component: one HTTP endpoint on the standard library."""

from __future__ import annotations

import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler


class Handler(BaseHTTPRequestHandler):
    """Answers ``/healthz`` and nothing else."""

    def do_GET(self) -> None:
        """Answer one request."""
        found = self.path == "/healthz"
        body = b'{"status": "ok"}' if found else b'{"error": "not found"}'
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing about health checks."""


class Server(socketserver.ThreadingTCPServer):
    """Binds without looking up the machine's name, which can take seconds where it does not resolve."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    port = int(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("127.0.0.1", port), Handler) as server:
        print(f"listening on 127.0.0.1:{port}")
        server.serve_forever()
