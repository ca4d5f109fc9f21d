"""Modules that others import and hardly ever use are loaded by their first use instead."""

from __future__ import annotations

import sys
from importlib import import_module
from threading import Lock
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["defer", "defer_costly"]

#: What the standard library, msgspec and websockets import for cases that most boots never meet.
_COSTLY = ("asyncio.sslproto", "importlib.metadata", "inspect", "ipaddress", "quopri", "ssl", "tokenize")
#: What msgspec takes from here, if it is installed, is the same in ``typing`` since Python 3.11.
_NEEDLESS = "typing_extensions"


#: Held while a stand-in steps aside, so that of two threads neither removes what the other has loaded.
_lock = Lock()


class _NoSocket:
    """Has no instances."""


def _unwrap(func: Any) -> Any:
    return func


def _isfunction(thing: object) -> bool:
    return isinstance(thing, FunctionType)


#: What asyncio needs to tell of an exception. Were it not to be had because no descriptor is left to
#: load it with, the loop itself would end.
_SPARE: dict[tuple[str, str], Any] = {
    ("inspect", "unwrap"): _unwrap,
    ("inspect", "isfunction"): _isfunction,
}


class _Deferred(ModuleType):
    """Stands in for a module until somebody asks it for anything; hands everything on from then on."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        with _lock:
            if sys.modules.get(name) is self:
                if (name, attribute) == ("ssl", "SSLSocket"):
                    return _NoSocket  # asyncio asks of every socket whether it is one: none can be yet.
                del sys.modules[name]
        try:
            return getattr(import_module(name), attribute)
        except (OSError, ImportError):
            sys.modules.setdefault(name, self)  # It may go better next time.
            if (name, attribute) in _SPARE:
                return _SPARE[name, attribute]
            raise


def defer(*names: str) -> None:
    """Have modules loaded by their first use. Those that are there already stay as they are.

    ``import name`` costs nothing then; ``from name import something`` is a use.
    """
    for name in names:
        if name not in sys.modules:
            stand_in = sys.modules[name] = _Deferred(name)
            package, _, child = name.rpartition(".")
            if package in sys.modules:
                setattr(sys.modules[package], child, stand_in)


def defer_costly() -> None:
    """For a program that is to be quick at its start: call it before anything large is imported."""
    defer(*_COSTLY)
    if _NEEDLESS in sys.modules or "msgspec" in sys.modules:
        return
    sys.modules[_NEEDLESS] = None  # type: ignore[assignment]  # Whoever can do without it, does.
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules[_NEEDLESS]
