"""What RAZAR's modules warn of by way of logging becomes lines of the boot, from whatever thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["own_warnings"]


class _Forward(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            fault = record.exc_info[1]
            text = f"{text}: {type(fault).__name__}: {fault}"
        if threading.get_ident() == self._thread:
            self._say(text)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._say, text)


@contextmanager
def own_warnings(say: Callable[[str], None]) -> Iterator[None]:
    """Have them told by ``say``; without that they would reach the terminal alone, or nobody."""
    logger = logging.getLogger("razar")
    handler = _Forward(say)
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)
