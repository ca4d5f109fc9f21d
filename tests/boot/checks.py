"""What must hold after every boot, however it ended."""

from __future__ import annotations

import json
from pathlib import Path

from tests.boot.mission import Mission

__all__ = ["healthy_remains", "holding", "written"]


def written(one: Mission) -> dict[Path, bytes]:
    """Every file of the mission's folder except those that a person wrote, by its path."""
    own = {one.folder / name for name in ("boot_config.json", "razar_env.yaml", "secrets.env")}
    return {
        path: path.read_bytes()
        for path in one.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path not in own and ".razar" not in path.parts
    }


def holding(one: Mission, *secrets: str) -> list[str]:
    """The files in which one of the secrets stands."""
    return [
        f"{path}: {secret}"
        for path, data in written(one).items()
        for secret in secrets
        if secret.encode() in data
    ]


def healthy_remains(one: Mission) -> None:
    """No traceback anywhere, nothing left running, state and journal readable line by line."""
    assert one.processes() == []
    for path, data in written(one).items():
        assert b"Traceback (most recent call last)" not in data, f"{path}: {data.decode(errors='replace')}"
    if (one.logs / "razar_state.json").exists():
        assert one.state["schema"] == 1
    journal = one.logs / "razar_journal.jsonl"
    if journal.exists():
        for line in journal.read_text().splitlines():
            json.loads(line)
