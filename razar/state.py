"""The snapshot ``razar_state.json``: rendered from the mission's state, replaced whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from razar.engine.state import MissionState, State
from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.redaction import one_line
from razar.utils.times import utc

__all__ = ["SCHEMA", "StateFile", "load_previous", "render"]

SCHEMA = 1
#: Seconds between two writes: changes in between go into one file.
INTERVAL = 0.1
#: Seconds until a write that failed is tried again although nothing has changed.
RETRY = 5.0
#: No snapshot is longer than this, in bytes.
SIZE_LIMIT = 64 * 1024 * 1024


def render(
    state: MissionState,
    order: Sequence[str],
    events: Sequence[Mapping[str, Any]],
    quarantine: Sequence[str],
    last_boot: str | None = None,
) -> dict[str, Any]:
    """The snapshot as it is written. ``order`` are the ids of the plan.

    ``last_boot`` is that of the previous snapshot; it stays until this boot has ended.
    """
    return {
        "schema": SCHEMA,
        "mission": state.mission,
        "boot_id": state.boot_id,
        "last_boot": last_boot if state.settled_at is None else utc(state.settled_at),
        "handshake": state.handshake,
        "model_launches": list(state.model_launches),
        "memory": {"layers": {}, **state.memory},
        "core": state.core,
        "components": [
            {
                "id": component.id,
                "layer": component.layer,
                "state": component.state,
                "pid": component.pid,
                "incarnation": component.incarnation,
                "since": utc(component.since) if component.since else None,
                "restarts": component.restarts,
                "error": None if component.error is None else one_line(component.error),
            }
            for component in map(state.components.__getitem__, order)
        ],
        "quarantine": list(quarantine),
        "events": list(events),
    }


class StateFile:
    """Writes the newest snapshot in a thread of its own: the mission never waits for the disk.

    ``offer`` takes a function that makes the snapshot; it is called in that thread, so it must
    close over values that do not change. A snapshot that a newer one overtakes is never made.
    A write that fails is told once through ``report`` (from that thread) and tried again.
    """

    def __init__(
        self,
        path: str,
        *,
        report: Callable[[str], None] | None = None,
        interval: float = INTERVAL,
        retry: float = RETRY,
    ) -> None:
        self.path = path
        self._report = report
        self._interval = interval
        self._retry = retry
        self._changed = threading.Condition()
        self._newest: Callable[[], dict[str, Any]] | None = None
        self._thread: threading.Thread | None = None
        self._hurry = False
        self._closing = False
        self._writing = False
        self._failing = False

    def offer(self, make: Callable[[], dict[str, Any]]) -> None:
        """Have a snapshot written within ``interval`` seconds; cheap, and never raises."""
        with self._changed:
            self._newest = make
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="razar-state", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def hasten(self) -> None:
        """Write now what waits, also for another try: what stood in its way is gone."""
        with self._changed:
            if self._thread is not None:
                self._hurry = True
                self._changed.notify_all()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the newest snapshot is on the disk; False if it could not be written."""
        with self._changed:
            if self._thread is None:
                return True
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._hurry, timeout)
            return self._newest is None and not self._writing

    def close(self, timeout: float = 5.0) -> bool:
        """Flush and end the thread."""
        done = self.flush(timeout)
        with self._changed:
            thread, self._thread = self._thread, None
            self._closing = True
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout)
        self._closing = False
        return done

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._hurry or self._closing)
                # Let what happens in quick succession gather before it is written.
                wait = self._retry if self._failing else self._interval
                self._changed.wait_for(lambda: self._hurry or self._closing, wait)
                if self._closing:
                    return
                make, self._newest = self._newest, None
                self._writing = True
            done = make is None or self._write(make)
            with self._changed:
                self._writing = False
                if not done and self._newest is None:
                    self._newest = make
                if self._newest is None or not done:
                    self._hurry = False
                self._changed.notify_all()

    def _write(self, make: Callable[[], dict[str, Any]]) -> bool:
        try:
            files.replace(self.path, msgspec.json.format(encode_json(make())) + b"\n")
        except (TypeError, ValueError, LookupError) as fault:
            self._tell(f"{self.path} is not current: the snapshot could not be made: {fault!r}")
        except OSError as fault:
            if not self._failing:
                self._failing = True
                self._tell(f"{self.path} cannot be written: {files.why(fault)}; it is tried again")
            return False
        if self._failing:
            self._failing = False
            self._tell(f"{self.path} is written again")
        return True

    def _tell(self, message: str) -> None:
        if self._report is not None:
            self._report(message)


class _Component(Struct, frozen=True):
    id: str
    layer: str
    state: State
    incarnation: int
    restarts: int
    pid: int | None = None
    since: str | None = None
    error: str | None = None


class _Event(Struct, frozen=True):
    step: str
    status: str
    timestamp: float
    component: str | None = None
    error: str | None = None


class _Version(Struct, frozen=True):
    schema: int


class _Snapshot(Struct, frozen=True):
    schema: Literal[1]
    mission: str
    boot_id: str
    components: list[_Component]
    last_boot: str | None = None
    handshake: dict[str, Any] = {}
    model_launches: list[dict[str, Any]] = []
    memory: dict[str, Any] = {}
    core: str | None = None
    quarantine: list[str] = []
    events: list[_Event] = []


def load_previous(path: str, at: float | None = None) -> tuple[dict[str, Any] | None, str | None]:
    """Read the snapshot of an earlier run: (snapshot or None, problem in words or None).

    Only for the one supervisor of a mission, when it starts: what a killed one left is removed, and
    a file that is no valid snapshot is set aside under a name with the time ``at`` (epoch
    seconds, default now). Never raises for anything that is found on the disk.
    """
    files.sweep(path)
    try:
        data = files.read_limited(path, SIZE_LIMIT)
    except FileNotFoundError:
        return None, None
    except OSError as fault:
        return None, _put_aside(path, at, f"cannot be read: {files.why(fault)}")
    if data is None:
        return None, _put_aside(path, at, f"is longer than {SIZE_LIMIT} bytes")
    try:
        snapshot: dict[str, Any] = msgspec.to_builtins(msgspec.json.decode(data, type=_Snapshot))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return None, _put_aside(path, at, _describe(data, fault))
    return snapshot, None


def _describe(data: bytes, fault: Exception) -> str:
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        schema = SCHEMA
    if schema > SCHEMA:
        return f"was written by a newer RAZAR (schema {schema}; this one reads {SCHEMA})"
    return f"is corrupt: {one_line(str(fault), 200)}" if data.strip(b" \n\0") else "is empty"


def _put_aside(path: str, at: float | None, problem: str) -> str:
    aside = files.set_aside(path, time.time() if at is None else at)
    where = f"set aside as {aside}" if aside else "it could not be set aside and will be replaced"
    return f"{path} {problem}; {where}"
