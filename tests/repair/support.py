"""A small mission with a real fault, and proposals for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from agents.razar.code_repair import RepairOutcome, repair_module
from agents.razar.proposals.proposal import Edit, Proposal
from razar.config.model import RepairScope

__all__ = ["APP", "FIX", "TEST", "Mission", "content", "edit", "propose"]

APP = "def add(a, b):\n    return a - b\n\n\ndef main():\n    print(add(1, 2))\n"
FIX = ("    return a - b\n", "    return a + b\n")
#: Passes only with the fix.
TEST = "import app\nassert app.add(1, 2) == 3, f'add gave {app.add(1, 2)}'\nprint('tested', app.__file__)\n"


def edit(path: str = "src/app.py", old: str = FIX[0], new: str = FIX[1]) -> Edit:
    return Edit(path=path, old=old, new=new)


def content(path: str, text: str) -> Edit:
    return Edit(path=path, content=text)


def propose(*edits: Edit) -> Proposal:
    """A proposal, also one that its own type would refuse: the pipeline must not rely on that."""
    proposal = Proposal(summary="mend it", root_cause="the sign", edits=[])
    proposal.edits.extend(edits)
    return proposal


class Mission:
    """A mission folder with ``src/app.py``, a test of it, things that must not change, and logs."""

    def __init__(self, folder: Path, *, app: str | bytes = APP, test: str | None = TEST) -> None:
        self.root = folder / "mission"
        self.logs = self.root / "logs"
        (self.root / "src").mkdir(parents=True)
        (self.root / "checks").mkdir()
        (self.root / ".git" / "hooks").mkdir(parents=True)
        self.logs.mkdir()
        self.app = self.root / "src" / "app.py"
        self.app.write_bytes(app if isinstance(app, bytes) else app.encode())
        (self.root / ".env").write_text("CROWN_TOKEN=value-of-env-file\n")
        (self.root / "checks" / "try_app.py").write_text(test or "")
        program = "import sys, runpy; sys.path.insert(0, 'src'); runpy.run_path('checks/try_app.py')"
        self.tests: tuple[tuple[str, ...], ...] = (("python", "-c", program),) if test is not None else ()
        self.scope = RepairScope(paths=("src/**",), tests=self.tests)

    async def repair(self, *edits: Edit, **options: Any) -> RepairOutcome:
        scope = options.pop("scope", self.scope)
        return await repair_module(
            "adder", propose(*edits), root=str(self.root), scope=scope, logs=str(self.logs), **options
        )

    async def refused(self, *edits: Edit, **options: Any) -> str:
        """Propose, and check that nothing at all changed; returns the reason."""
        before = self.files()
        outcome = await self.repair(*edits, **options)
        assert outcome.status == "rejected", outcome
        assert self.files() == before
        last = self.records()[-1]
        assert last["status"] == "rejected" and last["id"] == outcome.id and last["reason"] == outcome.reason
        return outcome.reason

    def files(self) -> dict[str, tuple[int, bytes | str]]:
        """Everything below the root but the logs: mode, and bytes or target."""
        found: dict[str, tuple[int, bytes | str]] = {}
        for folder, _, names in os.walk(self.root):
            if Path(folder).is_relative_to(self.logs):
                continue
            for name in names:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                linked = os.path.islink(path)
                regular = os.path.isfile(path)
                held = os.readlink(path) if linked else Path(path).read_bytes() if regular else ""
                found[os.path.relpath(path, self.root)] = (mode, held)
        return found

    def records(self) -> list[dict[str, Any]]:
        lines = (self.logs / "razar_ai_patches.json").read_text().splitlines()
        return [json.loads(line) for line in lines]
