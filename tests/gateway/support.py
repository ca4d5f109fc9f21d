"""A small OpenAI-style servant on a real socket, and the gateway as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["Behaviour", "Gateway", "Servant", "gateway", "servant"]

#: What a servant does with a request; it writes the response itself.
Behaviour = Callable[["Handler", dict[str, Any]], None]

TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "fix", "arguments": '{"a": 1}'}}
MARKED = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.fix:0<|tool_call_argument_begin|>"
    '{"a": 1}<|tool_call_end|><|tool_calls_section_end|>'
)


class Handler(BaseHTTPRequestHandler):
    """One request to a servant."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.servant.requests.append(
            (self.path, {name.lower(): text for name, text in self.headers.items()}, body)
        )
        self.server.servant.clients.add(self.client_address)
        self.server.servant.behaviour(self, body)

    def do_GET(self) -> None:
        self.answer(self.server.servant.look, {"object": "list", "data": []})

    def answer(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    #: Those who find the usual queue of 5 full knock again a second later, which some do not wait for.
    request_queue_size = 128
    servant: Servant

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


class Servant:
    """A model server whose behaviour a test sets."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.behaviour: Behaviour = says("hello")
        #: The status for those who only look whether it is there.
        self.look = 200
        #: The ends of the connections that requests came over.
        self.clients: set[tuple[str, int]] = set()
        #: Set when the test ends, so that what hangs lets go.
        self.over = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.servant = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def servant(behaviour: Behaviour | None = None) -> Iterator[Servant]:
    """Run a servant for as long as the block is entered."""
    made = Servant()
    made.behaviour = behaviour or made.behaviour
    try:
        yield made
    finally:
        made.close()


def completion(message: Mapping[str, Any], reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


def says(text: str) -> Behaviour:
    """Answer with this text, streamed word by word if a stream is asked for."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        if body.get("stream"):
            streams(*(word + " " for word in text.split()))(handler, body)
        else:
            handler.answer(200, completion({"content": text}))

    return behave


def replies(status: int, value: object, headers: Mapping[str, str] | None = None) -> Behaviour:
    return lambda handler, body: handler.answer(status, value, headers)


def fails(status: int, type_: str = "server_error", message: str = "out of order") -> Behaviour:
    return replies(status, {"error": {"type": type_, "message": message}})


def hangs(handler: Handler, body: dict[str, Any]) -> None:
    """Say nothing until the test is over."""
    handler.server.servant.over.wait(30)
    handler.close_connection = True


def event(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunk |= {"choices": [{"index": 0, "delta": dict(delta), "finish_reason": reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def streams(*words: str, cut: bool = False, hang: bool = False, pieces: int = 7) -> Behaviour:
    """Stream these words, in chunks that do not end where the events do; cut: end in the middle."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream; charset=utf-8")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        events = b"".join(event({"content": word}) for word in words)
        events += b"" if cut or hang else event({}, "stop")
        events += event({"content": "never"})[:20] if cut else b""
        for at in range(0, len(events), pieces):
            handler.wfile.write(chunk(events[at : at + pieces]))
        if hang:
            handler.server.servant.over.wait(30)
        if cut or hang:
            handler.close_connection = True
            return
        # In one piece: a connection whose answer does not end soon after its end mark is not kept.
        handler.wfile.write(chunk(b"data: [DONE]\n\n") + chunk(b""))

    return behave


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; an empty one ends it."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sends(*pieces: bytes, hang: bool = False, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Send these pieces as a stream of events, whatever they are; hang: leave it open until the test is over."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        for name, text in {"content-type": "text/event-stream", **(headers or {})}.items():
            handler.send_header(name, text)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(chunk(piece))
        if hang:
            handler.server.servant.over.wait(30)
            handler.close_connection = True
            return
        handler.wfile.write(chunk(b""))

    return behave


def closes_kept_connections(handler: Handler, body: dict[str, Any]) -> None:
    """Answer the first request of a connection, and close it when the next one comes."""
    if getattr(handler, "answered", False):
        handler.close_connection = True
        return
    handler.answered = True  # type: ignore[attr-defined]
    says("hello")(handler, body)


class Gateway:
    """A gateway that runs as a process."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


#: Settings of this machine that must not reach a test.
_OURS = ("SERVANT_MODELS", "CROWN_TOKEN", "KIMI2_ENDPOINT", "KIMI2_API_KEY", "KIMI2_MODEL", "KIMI_K2_URL")


def environment(**changes: str) -> dict[str, str]:
    """Return the environment for a gateway: this one without what would configure it."""
    return {key: value for key, value in os.environ.items() if key not in _OURS} | changes


@contextmanager
def gateway(
    folder: Path, config: Mapping[str, Any], *arguments: str, prefix: Sequence[str] = (), **environ: str
) -> Iterator[Gateway]:
    """Run the gateway with a configuration, under a command that executes it; it must end well when it is told to."""
    path = folder / "crown.json"
    path.write_text(json.dumps(config))
    command = [*prefix, sys.executable, "-m", "neoabzu_crown", "--config", str(path), *arguments]
    with (folder / "gateway.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=environment(**environ), text=True
        )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, (folder / "gateway.log").read_text()
            running = Gateway(process, url)
            yield running
            if process.poll() is None:
                assert running.stop() == 0, (folder / "gateway.log").read_text()
        finally:
            process.kill()
