"""A component with dependencies of its own: it reports the service below it, as a page and as a model would."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

PAGE = jinja2.Environment(autoescape=True).from_string(
    "<h1>complex_service</h1><p>{{ upstream }} says {{ status }}.</p>"
)

ANSWER = jinja2.Template("{{ upstream }} says {{ status }}.")


def upstream_status() -> int:
    """Ask the service below; return its HTTP status."""
    with urllib.request.urlopen(os.environ["BASIC_URL"] + "/healthz", timeout=2) as answer:
        status: int = answer.status
        return status


async def page(request: Request) -> HTMLResponse:
    """Show what the service below says."""
    status = await run_in_threadpool(upstream_status)
    return HTMLResponse(PAGE.render(upstream=os.environ["BASIC_URL"], status=status))


async def completions(request: Request) -> JSONResponse:
    """Answer a chat completion, whatever was asked, with what the service below says."""
    asked = await request.json()
    status = await run_in_threadpool(upstream_status)
    message = {"role": "assistant", "content": ANSWER.render(upstream=os.environ["BASIC_URL"], status=status)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "demo", "object": "chat.completion", "created": int(time.time()), "choices": [choice]}
    return JSONResponse(answer | {"model": asked.get("model")})


async def healthz(request: Request) -> JSONResponse:
    """Answer a health check."""
    return JSONResponse({"status": "ok"})


def application(log: Path) -> Starlette:
    """Make the application; it writes ``started`` to its log once it is up."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as out:
            out.write("started\n")
        yield

    routes = [
        Route("/", page),
        Route("/healthz", healthz),
        Route("/v1/chat/completions", completions, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="info")
