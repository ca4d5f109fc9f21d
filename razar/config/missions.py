"""Which file holds a mission: --config, missions/NAME.json or boot_config.json."""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from razar.config.document import read_bytes
from razar.config.faults import ConfigurationError, Fault, quote
from razar.config.wire import Name

__all__ = ["find_mission"]

_DEFAULT = "boot_config.json"
_FOLDER = "missions"


class _Header(Struct):
    mission: str


def find_mission(name: str | None, *, config: str | None, folder: str) -> str:
    """Return the path of the configuration of a mission; ``folder`` is where to look.

    That is ``config`` if given, else missions/NAME.json, else boot_config.json. Its mission must
    be ``name``, whichever it is; a name of None takes what ``config`` or boot_config.json holds.
    Raises ConfigurationError, with the missions there are. A file that cannot be read at all is
    returned: loading it tells more.
    """
    default = os.path.join(folder, _DEFAULT)
    if name is None:
        return _existing(config or default, folder)
    if not _is_name(name):
        expected = "1 to 63 characters out of a-z, 0-9, _ and -, the first a letter or digit"
        raise _error("--mission", f"the mission {quote(name)}", expected)
    if config is not None:
        path = config
    else:
        path = os.path.join(folder, _FOLDER, f"{name}.json")
        if not os.path.exists(path):
            path = default
    found = _mission_of(_existing(path, folder, name))
    if found is None or found == name:
        return path
    if config is not None or path != default:
        raise _error(path, f"the mission {quote(found)}", f"the mission {quote(name)}")
    raise _unknown(name, folder)


def _is_name(text: str) -> bool:
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


def _existing(path: str, folder: str, name: str | None = None) -> str:
    if os.path.lexists(path):
        return path
    if name is not None and path == os.path.join(folder, _DEFAULT):
        raise _unknown(name, folder)
    raise _error(path, "no such file", f"a mission file, such as {_DEFAULT}")


def _mission_of(path: str) -> str | None:
    try:
        return msgspec.json.decode(read_bytes(path), type=_Header).mission
    except (ConfigurationError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _unknown(name: str, folder: str) -> ConfigurationError:
    """Name the missions there are, and the nearest one."""
    missions: dict[str, str] = {}
    default = _mission_of(os.path.join(folder, _DEFAULT))
    if default is not None:
        missions[default] = _DEFAULT
    try:
        files = sorted(os.listdir(os.path.join(folder, _FOLDER)))
    except OSError:
        files = []
    for file in files:
        stem, extension = os.path.splitext(file)
        if extension == ".json" and _is_name(stem):
            missions.setdefault(stem, f"{_FOLDER}/{file}")
    expected = "one of " + ", ".join(f"{quote(mission)} ({file})" for mission, file in missions.items())
    hint = None
    if missions:
        from difflib import get_close_matches

        near = get_close_matches(name, missions, n=1)
        hint = f'did you mean "{near[0]}"?' if near else None
    else:
        expected = f"{_FOLDER}/{name}.json, or {_DEFAULT} with that mission"
    return _error(folder, f"no mission {quote(name)}", expected, hint)


def _error(file: str, found: str, expected: str, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError([Fault(file=file, found=found, expected=expected, hint=hint)])
