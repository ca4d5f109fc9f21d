"""Why a mission cannot be ignited."""

from __future__ import annotations

__all__ = ["PreparationError"]


class PreparationError(Exception):
    """The mission cannot be ignited; ``code`` is the exit code, the message is for people."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
