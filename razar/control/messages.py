"""What a client may ask of a running mission, as it travels, and what is needed to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from razar.engine import events
from razar.engine.facts import Fact, MissionStopped
from razar.engine.plan import Plan
from razar.engine.state import MissionState

__all__ = ["Code", "Mission", "Progress", "Refusal", "Repairs", "Request", "parse"]

Code = Literal[
    "bad_request", "busy", "forbidden", "internal", "not_reached", "unavailable", "unknown_component"
]
Progress = Callable[[Mapping[str, Any]], Awaitable[None]]


class Mission(Protocol):
    """What is needed of the runtime."""

    plan: Plan
    state: MissionState
    stopped: asyncio.Future[MissionStopped]

    def report(self, event: events.Event) -> None:
        """Take an event."""

    def follow(self, projection: Callable[[Fact, MissionState], None]) -> Callable[[], None]:
        """Tell the facts until the returned function is called."""


class Repairs(Protocol):
    """What is needed of the recovery manager. Each raises an exception named ``Refusal`` of its own."""

    async def approve(self, patch: str) -> tuple[str, bool]:
        """Apply a patch that waits; its component, and whether that is relaunched."""

    async def reject(self, patch: str, reason: str) -> str:
        """Turn a patch down; its component."""

    async def rollback(self, patch: str, reason: str) -> tuple[str, tuple[str, ...]]:
        """Undo a patch; its component, and the files that somebody else had changed."""

    async def finish(self, component: str) -> None:
        """Wait until what was decided about a component's patch is done."""


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. ``timeout`` is how many seconds the client wants to wait for the end of it.

    Without ``components``, ``stop`` is for the whole mission; ``hurry`` then reduces every grace
    period to zero. ``note`` goes into the record of a release, a rejection or a rollback; ``patch``
    is the id of a repair.
    """

    request: Literal["ping", "status", "stop", "restart", "release", "approve", "reject", "rollback"]
    components: list[str] | None = None
    patch: str | None = None
    timeout: float | None = None
    hurry: bool = False
    note: str | None = None


class Refusal(Exception):
    """A request that is not carried out, or did not reach its end; ``details`` go to the client."""

    def __init__(self, code: Code, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def answer(self) -> dict[str, Any]:
        """The line for the client."""
        return {"ok": False, "code": self.code, "error": str(self), **self.details}


_OF_REPAIRS = frozenset({"approve", "reject", "rollback"})
_decoder = msgspec.json.Decoder(Request)


def parse(line: bytes) -> Request:
    """Read a request; raise Refusal if it is none."""
    try:
        request = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refusal("bad_request", f"not a request: {fault}") from None
    if request.components is not None and not request.components:
        raise Refusal("bad_request", "components is empty; leave it out to mean the whole mission")
    if request.components is None and request.request in ("restart", "release"):
        raise Refusal("bad_request", f"{request.request} needs components")
    if request.hurry and (request.request != "stop" or request.components is not None):
        raise Refusal("bad_request", "hurry is for a stop of the whole mission")
    if (request.patch is None) == (request.request in _OF_REPAIRS):
        raise Refusal("bad_request", f"patch is for {', '.join(sorted(_OF_REPAIRS))}, which need it")
    if request.timeout is not None and not request.timeout >= 0:
        raise Refusal("bad_request", "timeout is negative")
    return request
