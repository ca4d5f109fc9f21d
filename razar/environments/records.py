"""Whether what was installed is what the packages' own RECORD files say.

RECORD: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import os

from razar.environments.stamp import Folder

__all__ = ["mismatched"]


def mismatched(folder: str, folders: list[Folder]) -> dict[str, str]:
    """Map each package with a file that differs from its RECORD to that file.

    It happens where uv's cache was damaged: other tools link installed files to the cache, so
    editing one of theirs in place changes what everybody installs afterwards.
    """
    found = {
        os.path.join(part.path, name): mark[1:]
        for part in folders
        for name, mark in zip(part.names, part.fingerprints, strict=True)
    }
    wrong: dict[str, str] = {}
    for part in folders:
        if not part.path.endswith(".dist-info") or "RECORD" not in part.names:
            continue
        site = os.path.dirname(part.path)
        package = os.path.basename(part.path).split("-")[0]
        with open(os.path.join(folder, part.path, "RECORD"), "rb") as file:
            lines = file.read().decode(errors="replace").splitlines()
        for path, digest in _rows(lines):
            path = os.path.normpath(os.path.join(site, path))
            if found.get(path) != digest:
                wrong.setdefault(package, os.path.join(folder, path))
    return wrong


def _rows(lines: list[str]) -> list[tuple[str, str]]:
    """Return (path, SHA-256 in urlsafe base64) of each file that a RECORD vouches for."""
    import csv

    try:
        rows = list(csv.reader(lines))
    except csv.Error:
        return []
    return [
        (row[0], row[1].removeprefix("sha256="))
        for row in rows
        if len(row) >= 2 and row[1].startswith("sha256=") and "__pycache__" not in row[0]
    ]
