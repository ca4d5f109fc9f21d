"""One handover outside of a boot: for scripts and operators, verified as well as that can be done."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from msgspec import Struct

from agents.razar.attempts import Attempt, Exhausted, Outcome
from agents.razar.escalation.breaker import Breakers
from agents.razar.escalation.budgets import Budget, limits_of
from agents.razar.handover import Handovers
from agents.razar.records.remembered import Memory
from razar.config.model import Component, MissionConfig
from razar.utils import files
from razar.utils.redaction import redact

__all__ = ["HandoverResult", "UnknownComponentError", "hand_over", "open_memory"]

#: Seconds beyond a component's own deadlines that a relaunch is waited for.
_MARGIN = 30.0
_T = TypeVar("_T")


class UnknownComponentError(LookupError):
    """The mission has no such component; the message names those that come near."""


class HandoverResult(Struct, frozen=True, kw_only=True):
    """What became of a handover. It is true only if a patch was applied and verified.

    ``outcome`` is ``repaired``, ``undone`` (applied, and the component did not come back healthy),
    ``proposed``, ``refused``, ``failed``, or ``exhausted`` (no attempt was worth it); ``reason`` says why.
    ``wait`` is how many seconds should pass before another one. ``packet`` is a folder for the operator.
    """

    component: str
    outcome: str
    reason: str
    agent: str | None = None
    attempt: int | None = None
    patch_id: str | None = None
    diff: str = ""
    seconds: float = 0.0
    tokens: int | None = None
    wait: float = 0.0
    packet: str | None = None

    def __bool__(self) -> bool:
        return self.outcome == "repaired"


#: What was used up, and which endpoints failed, for as long as this process lives; by configuration.
_spent: dict[str, tuple[Budget, Breakers]] = {}


def hand_over(
    component: str,
    error: object,
    *,
    context: Mapping[str, Any] | None = None,
    use_opencode: bool = False,
    config_path: str | os.PathLike[str] | None = None,
) -> HandoverResult:
    """See :func:`agents.razar.ai_invoker.handover`."""
    if not isinstance(component, str) or not component:
        raise TypeError("component must be the id of a component")
    if context is not None and not isinstance(context, Mapping):
        raise TypeError("context must be a mapping or None")
    config = _load(config_path)
    found = _find(config, component)
    from razar.utils.places import default_logs

    logs = os.path.abspath(default_logs(config.path))
    failure_text = str(error) if str(error).strip() else "it failed, without an error text"
    try:
        with _alone(logs):
            return _in_a_loop(
                lambda: _one(
                    config, found, failure_text, dict(context or {}), logs, use_opencode=use_opencode
                )
            )
    except OSError as fault:
        # Without a record there is no repair.
        reason = f"nothing can be recorded in {logs}: {files.why(fault)}"
        return HandoverResult(component=component, outcome="failed", reason=redact(reason))


def open_memory(logs: str) -> Callable[[], Memory | None]:
    """What opens the memory of a mission; it gives None where the Rust extension is missing."""

    def open() -> Memory | None:
        try:
            module = importlib.import_module("neoabzu_memory")
        except ImportError:
            return None
        memory: Memory = module.MemoryBundle(os.path.join(logs, "razar_memory.db"))
        return memory

    return open


def _load(config_path: str | os.PathLike[str] | None) -> MissionConfig:
    """Load the mission. Raises razar.config.faults.ConfigurationError."""
    from razar.config.environments import load_environments
    from razar.config.load import find_mission, load_mission

    given = None if config_path is None else os.fspath(config_path)
    path = find_mission(None, config=given, folder=os.getcwd())
    environments = os.path.join(os.path.dirname(os.path.abspath(path)), "razar_env.yaml")
    layers = None
    if os.path.exists(environments):
        layers = [spec.layer for spec in load_environments(environments, required=False)]
    return load_mission(path, environ=os.environ, layers=layers)


def _find(config: MissionConfig, id: str) -> Component:
    for component in config.components:
        if component.id == id:
            return component
    from difflib import get_close_matches

    ids = [component.id for component in config.components]
    near = get_close_matches(id[:100], ids, n=3) or ids[:20]
    raise UnknownComponentError(
        f"mission {config.mission} has no component {id[:100]!r}; it has {', '.join(near)}"
    )


@contextmanager
def _alone(logs: str) -> Iterator[None]:
    """One handover of a mission at a time, whoever makes it."""
    folder = os.path.join(logs, "repairs")
    os.makedirs(folder, mode=0o750, exist_ok=True)
    fd = os.open(os.path.join(folder, ".handover"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _in_a_loop(make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine to its end, also from a thread whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    done: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(make()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="razar-handover")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


async def _one(
    config: MissionConfig,
    component: Component,
    error: str,
    context: dict[str, Any],
    logs: str,
    *,
    use_opencode: bool,
) -> HandoverResult:
    from razar.failure_context import build_failure_context, retry_with_ai
    from razar.operator.relaunch import is_supervised
    from razar.utils.logging import FILE_NAME

    supervised = await asyncio.to_thread(is_supervised, logs)
    budget, breakers = _spent.setdefault(config.path, (Budget(limits_of(config.repair.budget)), Breakers()))
    handovers = Handovers(
        config,
        logs=logs,
        environ=os.environ,
        interpreter=lambda layer: _interpreter(config.root, layer),
        memory=open_memory(logs),
        say=_say,
        probe=supervised,
        builds=False,
        first="opencode" if use_opencode else None,
        budget=budget,
        breakers=breakers,
    )
    try:
        if not supervised:
            # What an earlier handover left open when it was killed. A supervisor looks after its own.
            handovers.recover()
        attempt = await retry_with_ai(
            component.id,
            error,
            handovers=handovers,
            build=lambda id: build_failure_context(id, log_path=os.path.join(logs, FILE_NAME)),
            tail=_tail(logs, component.id),
            context=context,
        )
        if not attempt:
            return _result(attempt, attempt.outcome)
        return await _verify(handovers, attempt, component, logs, supervised=supervised)
    except Exhausted as end:
        packet = handovers.packet(component.id) if end.kind in ("ladder", "class") else None
        return HandoverResult(
            component=component.id, outcome="exhausted", reason=redact(end.reason), packet=packet
        )
    finally:
        await handovers.close()


async def _verify(
    handovers: Handovers, attempt: Attempt, component: Component, logs: str, *, supervised: bool
) -> HandoverResult:
    if not supervised:
        await handovers.settle(attempt, True)
        return _result(attempt, "repaired", "its tests passed, and no supervisor runs that could relaunch it")
    from razar.operator.relaunch import relaunch

    note = f"repair {attempt.patch_id}"
    seconds = (component.probe.deadline + component.stop.grace) * (component.retries + 1) + _MARGIN
    done = await asyncio.to_thread(relaunch, logs, component.id, timeout=seconds, note=note)
    await handovers.settle(attempt, done.healthy, done.reason)
    if done.healthy:
        return _result(attempt, "repaired", done.reason)
    if done.before in ("running", "completed"):
        # It ran before: with its own files it may run again.
        await asyncio.to_thread(relaunch, logs, component.id, timeout=seconds, note=f"{note} was undone")
    return _result(attempt, "undone", done.reason)


def _result(attempt: Attempt, outcome: Outcome | str, reason: str | None = None) -> HandoverResult:
    return HandoverResult(
        component=attempt.component,
        outcome=outcome,
        reason=redact(attempt.reason if reason is None else f"{attempt.reason}; {reason}"),
        agent=attempt.agent or None,
        attempt=attempt.number,
        patch_id=attempt.patch_id,
        diff=redact(attempt.diff),
        seconds=attempt.seconds,
        tokens=attempt.tokens,
        wait=attempt.wait,
    )


def _interpreter(root: str, layer: str) -> str | None:
    from razar.environments.layout import current

    folder = current(root, layer)
    python = None if folder is None else os.path.join(folder, "bin", "python")
    return python if python is not None and os.path.exists(python) else None


def _tail(logs: str, component: str) -> list[str]:
    from agents.razar.records.packet import tail_of

    return tail_of(logs, component)


def _say(level: str, text: str) -> None:
    import logging

    logging.getLogger("razar.handover").log(
        getattr(logging, {"WARN": "WARNING"}.get(level, level), logging.INFO), text
    )
