"""Serves the recorded answer of a repair agent on loopback, for as long as the demo runs."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from threading import Thread

__all__ = ["serve"]

ANSWER = Path(__file__).resolve().parent / "answer.json"


class Handler(BaseHTTPRequestHandler):
    """Answers every POST with the recording, whatever was asked."""

    def do_POST(self) -> None:
        """Answer one request."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = ANSWER.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The demo's own lines are enough."""


def serve() -> str:
    """Serve in a thread; return the URL."""
    server = TCPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions"


if __name__ == "__main__":
    print(serve(), flush=True)
    sys.stdin.read()
