"""Runs a gateway in a thread, so that the main thread can hear signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
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

    heard = (signal.SIGINT, signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    earlier = {number: signal.signal(number, lambda *_: gateway.stop()) for number in heard} if main else {}
    thread = threading.Thread(target=run, name="crown-gateway")
    try:
        thread.start()
        try:
            if ready is not None:
                ready(gateway)
        except BaseException:
            gateway.stop()
            raise
        finally:
            thread.join()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if failures:
        raise failures[0]
