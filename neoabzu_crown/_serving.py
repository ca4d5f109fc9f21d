"""Runs a gateway in a thread, so that the main thread can hear signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neoabzu_crown import Gateway, Router

__all__ = ["serve"]


def serve(
    config: Router | Mapping[str, Any] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    ready: Callable[[Gateway], None] | None = None,
    **limits: Any,
) -> None:
    """Serve until SIGINT or SIGTERM, or until ``stop`` is called on what ``ready`` is given.

    What is under way is finished first; a second signal ends it at once. Signals are heard only in
    the main thread. ``ready`` is called once it listens. ``limits`` are those of Gateway. Raises
    ConfigurationError, and OSError if it cannot listen.
    """
    from neoabzu_crown import Gateway, Router  # which imports this module

    router = config if isinstance(config, Router) else Router(None if config is None else dict(config))
    gateway = Gateway(router, host, port, token=token, **limits)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            gateway.run()
        except BaseException as failure:
            failures.append(failure)
        finally:
            ended.set()
            os.write(waking, b"\0")

    ended = threading.Event()
    thread = threading.Thread(target=run, name="crown-gateway")
    with _signals(gateway.stop) as (asleep, waking):
        thread.start()
        try:
            if ready is not None:
                ready(gateway)
        except BaseException:
            gateway.stop()
            raise
        finally:
            # Not in join: a signal that comes in the instant before it would be heard only after it.
            while not ended.is_set():
                os.read(asleep, 64)
            thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """Have SIGINT and SIGTERM call ``stop``, and write into a pipe; give its two ends."""
    asleep, waking = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(waking, False)
    try:
        if threading.current_thread() is not threading.main_thread():
            yield asleep, waking
            return
        handlers = {
            number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)
        }
        before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        try:
            yield asleep, waking
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    finally:
        os.close(asleep)
        os.close(waking)
