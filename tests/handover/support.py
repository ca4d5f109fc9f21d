"""A mission with a real fault, an agent that asks a real server, and a memory in a JSON file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx
import msgspec

from agents.razar.agent import Sent, Suggestion, Task
from agents.razar.errors import AgentError, OverloadedError
from agents.razar.handover import Failure, Handovers
from agents.razar.proposals.proposal import Edit, Proposal
from razar.config.model import (
    Component,
    MissionConfig,
    Probe,
    RepairScope,
    RepairSettings,
)
from razar.utils.digests import sha256_hex
from tests.repair.support import APP, FIX, TEST

__all__ = ["APP", "FIX", "FIXED", "Agent", "FileMemory", "House", "Server", "edit", "failure", "proposal"]

FIXED = APP.replace(*FIX)
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "src/app.py", line 2, in add',
    "    return a - b",
    "AssertionError: add gave -1",
)


def edit(path: str = "src/app.py", old: str = FIX[0], new: str = FIX[1]) -> Edit:
    return Edit(path=path, old=old, new=new)


def proposal(*edits: Edit) -> Proposal:
    return Proposal(summary="mend the sign", root_cause="the sign", edits=list(edits) or [edit()])


class Server:
    """A local endpoint: remembers every request's bytes, answers with what ``answer`` makes of them."""

    def __init__(self, answer: Callable[[int, Any], Any] | None = None) -> None:
        self.requests: list[bytes] = []
        self.answer = answer or (lambda number, body: msgspec.to_builtins(proposal()))
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(bytes(str(self.headers), "latin-1") + body)
                told = server.answer(len(server.requests), json.loads(body))
                status, told = told if isinstance(told, tuple) else (200, told)
                data = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/patch"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Agent:
    """Sends a task as JSON to a server and takes a proposal from the answer."""

    def __init__(self, name: str, endpoint: str, *, tokens: int | None = 100) -> None:
        self.name = name
        self.endpoint = endpoint
        self.tokens = tokens

    async def propose(self, task: Task, *, seconds: float) -> Suggestion:
        data = msgspec.json.encode(task)
        sent = Sent(what="request", to=self.endpoint, size=len(data), sha256=sha256_hex(data), masked=0)
        async with httpx.AsyncClient(timeout=seconds, trust_env=False) as client:
            response = await client.post(self.endpoint, content=data)
        if response.status_code != 200:
            error: AgentError = OverloadedError(f"{self.name} has no capacity", status=response.status_code)
            error.sent = (sent,)
            raise error
        found = msgspec.convert(response.json(), Proposal)
        return Suggestion(proposal=found, tokens=self.tokens, sent=(sent,))


class FileMemory:
    """The memory's face over a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures = 0
        self.closed = False

    def record_failure(self, component: str, error_class: str, error: str) -> str:
        self.failures += 1
        return sha256_hex(f"{component} {error_class} {error}".encode())

    def record_repair(self, fingerprint: str, repair: dict[str, Any], held: bool) -> None:
        known = self._load()
        for entry in known.setdefault(fingerprint, []):
            if entry["repair"] == repair:
                entry["held" if held else "failed"] += 1
                break
        else:
            known[fingerprint].append({"repair": repair, "held": int(held), "failed": int(not held)})
        self.path.write_text(json.dumps(known))

    def recall_repair(self, fingerprint: str) -> list[dict[str, Any]]:
        found = [entry for entry in self._load().get(fingerprint, []) if entry["held"]]
        return sorted(found, key=lambda entry: entry["failed"] - entry["held"])

    def close(self) -> None:
        self.closed = True

    def _load(self) -> dict[str, list[dict[str, Any]]]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}  # type: ignore[no-any-return]


def failure(
    component: str = "adder", *, at: float = 1000.0, error: str = "Health check failed", **more: Any
) -> Failure:
    return Failure(component=component, error=error, at=at, **{"tail": TRACEBACK, **more})


class House:
    """A mission folder and the parts of Handovers."""

    def __init__(
        self,
        folder: Path,
        *,
        scope: RepairScope | None = None,
        test: str | None = TEST,
        components: int = 1,
        repair: RepairSettings | None = None,
        env: dict[str, str] | None = None,
        write: bool = True,
    ) -> None:
        self.root = folder / "mission"
        self.logs = self.root / "logs"
        self.app = self.root / "src" / "app.py"
        if write:
            (self.root / "src").mkdir(parents=True)
            (self.root / "checks").mkdir()
            self.app.write_text(APP)
            (self.root / "checks" / "try_app.py").write_text(test or "")
        program = "import sys, runpy; sys.path.insert(0, 'src'); runpy.run_path('checks/try_app.py')"
        tests: tuple[tuple[str, ...], ...] = (("python", "-c", program),) if test is not None else ()
        self.scope = RepairScope(paths=("src/**",), tests=tests) if scope is None else scope
        names = ["adder", *(f"other{number}" for number in range(1, components))]
        self.config = MissionConfig(
            mission="demo",
            components=tuple(
                Component(
                    id=name,
                    layer="core",
                    argv=("python", "src/app.py"),
                    probe=Probe(kind="log", target="ready"),
                    repair=self.scope,
                    env=env or {},
                )
                for name in names
            ),
            root=str(self.root),
            path=str(self.root / "boot_config.json"),
            repair=repair or RepairSettings(),
        )
        self.said: list[tuple[str, str]] = []
        self.now = 1000.0

    @classmethod
    def at(cls, folder: Path) -> House:
        """One that is there already."""
        return cls(folder, write=False)

    def handovers(self, *agents: Agent, **options: Any) -> Handovers:
        return Handovers(
            options.pop("config", self.config),
            logs=str(self.logs),
            environ=options.pop("environ", {}),
            agents=agents,
            say=lambda level, text: self.said.append((level, text)),
            clock=lambda: self.now,
            chance=lambda: 0.5,
            **options,
        )

    def records(self, name: str = "razar_ai_invocations.json") -> list[dict[str, Any]]:
        path = self.logs / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
