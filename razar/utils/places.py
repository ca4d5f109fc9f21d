"""Where a mission's files are, from the path of its configuration alone."""

from __future__ import annotations

import os

__all__ = ["DEFAULT", "MISSIONS", "NOWHERE", "default_logs", "is_nowhere", "mission_files"]

#: The folder of the configurations of several missions, each named as its mission.
MISSIONS = "missions"
#: The configuration of a folder with one mission.
DEFAULT = "boot_config.json"


def default_logs(config: str) -> str:
    """The folder of logs beside a configuration; missions that share a folder have one each.

    ``boot_config.json`` has ``logs``, ``missions/NAME.json`` has ``missions/logs/NAME``.
    """
    folder, name = os.path.split(config)
    logs = os.path.join(folder, "logs")
    if name not in ("", DEFAULT) and os.path.basename(os.path.abspath(folder)) == MISSIONS:
        return os.path.join(logs, os.path.splitext(name)[0])
    return logs


def mission_files() -> list[str]:
    """The configurations in ``missions/``; none if this folder has a mission or logs of its own."""
    if os.path.exists(DEFAULT) or os.path.isdir(default_logs("")):
        return []
    try:
        names = os.listdir(MISSIONS)
    except OSError:
        return []
    return [os.path.join(MISSIONS, name) for name in sorted(names) if name.endswith(".json")]


#: Said where :func:`is_nowhere` holds.
NOWHERE = "razar: the current folder has been removed; change to one that is there\n"


def is_nowhere() -> bool:
    """Tell whether the folder in which this process was started is gone."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False
