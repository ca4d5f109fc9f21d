"""The swap: all of a patch or none of it, whatever is killed, full or changed meanwhile."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from agents.razar.patching import journal, transaction
from agents.razar.patching.policy import Change
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.tree import Tree

ROUNDS = int(os.environ.get("RAZAR_KILL_ROUNDS", "30"))
MODES = {"a.py": 0o751, "inner/b.py": 0o600, "c.py": 0o644}


class Folder:
    """Three files that always hold the same version number, and the logs of their changes."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.logs = str(folder / "logs")
        (self.root / "inner").mkdir(parents=True)
        for name, mode in MODES.items():
            (self.root / name).write_text("version 0\n")
            (self.root / name).chmod(mode)

    def version(self) -> int:
        """The version, having checked that all files have it, their modes, and no company."""
        texts = {(self.root / name).read_text() for name in MODES}
        assert len(texts) == 1, texts
        assert {name: (self.root / name).stat().st_mode & 0o7777 for name in MODES} == MODES
        version = int(texts.pop().split()[1])
        made = {f"new{version}.py"} if version else set()
        names = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        assert names == set(MODES) | made
        return version

    def changes(self, version: int) -> tuple[Change, ...]:
        text = f"version {version + 1}\n".encode()
        changed = [
            Change(path=name, before=(self.root / name).read_bytes(), after=text, mode=mode)
            for name, mode in MODES.items()
        ]
        return (*changed, Change(path=f"new{version + 1}.py", before=None, after=text, mode=0o644))

    def prepare(self, version: int = 0) -> str:
        id = journal.new_id()
        journal.prepare(self.logs, id, "component", str(self.root), self.changes(version))
        return id

    def step(self, choice: str, id: str | None = None) -> None:
        version = self.version()
        id = id or self.prepare(version)
        transaction.apply(self.logs, id)
        if choice == "keep":
            transaction.keep(self.logs, id)
            if version:
                (self.root / f"new{version}.py").unlink()
        elif choice == "rollback":
            transaction.rollback(self.logs, id)
        else:
            transaction.recover(self.logs)


def work_until_killed(folder: Folder, ready: int) -> NoReturn:
    """Change the files again and again; only a signal ends it, or a fault, which exits with 1."""
    try:
        id: str | None = folder.prepare()
        os.write(ready, b"x")
        while True:
            folder.step(random.choice(("rollback", "recover")), id)
            id = None
    finally:
        os._exit(1)


def test_kills_at_random_instants_leave_everything_as_it_was(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    interrupted = 0
    id = folder.prepare()
    begun = time.monotonic()
    folder.step("rollback", id)
    duration = time.monotonic() - begun
    for _ in range(ROUNDS):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            work_until_killed(folder, writing)
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        time.sleep(random.uniform(0, 2 * duration))  # The random instant, not a wait.
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        interrupted += len(transaction.recover(folder.logs))
        assert folder.version() == 0
        states = {journal.state_of(folder.logs, id) for id in journal.known(folder.logs)}
        assert states <= {"rolled_back", "rejected"}
    assert interrupted > 0, "no kill hit a swap"


def test_a_kill_during_the_recovery_is_recovered_from(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for _ in range(10):
        transaction.apply(folder.logs, folder.prepare())
        child = os.fork()
        if child == 0:
            transaction.recover(folder.logs)
            os._exit(0)
        time.sleep(random.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        transaction.recover(folder.logs)
        assert folder.version() == 0


def test_a_kept_patch_survives_kills(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.step("keep")
    assert transaction.recover(folder.logs) == []
    assert folder.version() == 1


@pytest.mark.parametrize("space", [0, 5, 4000])
def test_a_full_disk_during_the_swap_leaves_everything_as_it_was(tmp_path: Path, space: int) -> None:
    folder = Folder(tmp_path)
    id = journal.new_id()
    after = b"version 1" + b" " * 5000 + b"\n"
    changes = folder.changes(0)
    large = Change(path="a.py", before=b"version 0\n", after=after, mode=0o751)
    journal.prepare(folder.logs, id, "component", str(folder.root), (*changes[1:], large))
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (space, resource.RLIM_INFINITY))
            try:
                transaction.apply(folder.logs, id)
            except (Refusal, OSError):
                os._exit(7)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    transaction.recover(folder.logs)
    assert folder.version() == 0


def test_a_rollback_needs_no_space(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    transaction.apply(folder.logs, id)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            transaction.rollback(folder.logs, id)
        except OSError:
            os._exit(7)  # Only the journal could not be written.
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert folder.version() == 0
    assert transaction.recover(folder.logs) == [id]
    assert folder.version() == 0


def test_a_file_changed_before_the_swap_stops_all_of_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    (folder.root / "c.py").write_text("mine\n")
    with pytest.raises(Refusal, match=r"'c\.py' was changed") as caught:
        transaction.apply(folder.logs, id)
    assert caught.value.passing
    assert (folder.root / "c.py").read_text() == "mine\n"
    (folder.root / "c.py").write_text("version 0\n")
    assert folder.version() == 0
    assert journal.state_of(folder.logs, id) == "rolled_back"


def test_a_mode_changed_before_the_swap_stops_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    (folder.root / "a.py").chmod(0o700)
    with pytest.raises(Refusal, match=r"'a\.py' was changed"):
        transaction.apply(folder.logs, id)
    (folder.root / "a.py").chmod(0o751)
    assert folder.version() == 0


def test_a_name_taken_before_the_swap_is_not_overwritten(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    (folder.root / "new1.py").write_text("mine\n")
    with pytest.raises(Refusal, match=r"changed after|somebody else"):
        transaction.apply(folder.logs, id)
    assert (folder.root / "new1.py").read_text() == "mine\n"
    (folder.root / "new1.py").unlink()
    assert folder.version() == 0


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_put_in_the_place_of_a_file_or_folder_is_not_followed(tmp_path: Path, what: str) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.py").write_text("version 0\n")
    (outside / "b.py").chmod(0o600)
    if what == "file":
        (folder.root / "inner" / "b.py").unlink()
        (folder.root / "inner" / "b.py").symlink_to(outside / "b.py")
    else:
        (folder.root / "inner").rename(folder.root / "was")
        (folder.root / "inner").symlink_to(outside)
    with pytest.raises(Refusal):
        transaction.apply(folder.logs, id)
    assert sorted(os.listdir(outside)) == ["b.py"]
    assert (outside / "b.py").read_text() == "version 0\n"
    assert (folder.root / "a.py").read_text() == "version 0\n"


def test_the_old_file_itself_comes_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    before = (folder.root / "a.py").stat()
    id = folder.prepare()
    transaction.apply(folder.logs, id)
    transaction.rollback(folder.logs, id)
    after = (folder.root / "a.py").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)


def test_the_stored_copy_serves_when_the_old_file_is_gone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    transaction.apply(folder.logs, id)
    for path in folder.root.rglob(".razar-*"):
        path.unlink()
    (folder.root / "a.py").unlink()
    transaction.rollback(folder.logs, id)
    assert folder.version() == 0


def test_one_file_belongs_to_one_open_repair(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first, second = folder.prepare(), folder.prepare()
    transaction.apply(folder.logs, first)
    with pytest.raises(Refusal, match=f"belongs to the repair {first}"):
        transaction.apply(folder.logs, second)
    transaction.rollback(folder.logs, first)
    transaction.apply(folder.logs, second)
    transaction.rollback(folder.logs, second)
    assert folder.version() == 0


def test_swaps_of_two_processes_take_turns(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    ids = [folder.prepare() for _ in range(4)]
    children = []
    for id in ids:
        child = os.fork()
        if child == 0:
            try:
                transaction.apply(folder.logs, id)
            except Refusal:
                os._exit(3)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sorted(codes) == [0, 3, 3, 3]
    assert len(transaction.recover(folder.logs)) == 1
    assert folder.version() == 0


def test_a_damaged_store_is_noticed_and_the_others_come_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    transaction.apply(folder.logs, id)
    store = Path(journal.folder_of(folder.logs, id))
    (store / "original" / "0").write_text("damaged\n")
    for path in folder.root.rglob(".razar-*"):
        path.unlink()
    with pytest.raises(OSError, match="damaged"):
        transaction.recover(folder.logs)
    assert (folder.root / "c.py").read_text() == "version 0\n"
    assert journal.state_of(folder.logs, id) == "applied"
    (store / "original" / "0").write_text("version 0\n")
    transaction.recover(folder.logs)
    assert folder.version() == 0


def test_what_was_never_prepared_is_cleared_away(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = journal.new_id()
    (Path(folder.logs) / "repairs" / id / "original").mkdir(parents=True)
    assert transaction.recover(folder.logs) == []
    assert journal.known(folder.logs) == []


def test_a_hard_link_made_before_the_swap_stops_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    os.link(folder.root / "a.py", tmp_path / "elsewhere.py")
    with pytest.raises(Refusal, match="hard links"):
        transaction.apply(folder.logs, id)
    (tmp_path / "elsewhere.py").unlink()
    assert folder.version() == 0


def during_the_last_stage(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have ``act`` called when all new files lie beside the old ones and none is in place yet."""
    really = transaction._stage

    def stage(tree: Tree, logs: str, manifest: journal.Manifest, number: int, entry: journal.Entry) -> None:
        really(tree, logs, manifest, number, entry)
        if number == len(manifest.entries) - 1:
            act()

    monkeypatch.setattr(transaction, "_stage", stage)


def test_a_file_changed_in_the_midst_of_the_swap_stops_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    during_the_last_stage(monkeypatch, lambda: (folder.root / "c.py").write_text("mine\n") and None)
    with pytest.raises(Refusal, match=r"'c\.py' was changed"):
        transaction.apply(folder.logs, id)
    assert (folder.root / "c.py").read_text() == "mine\n"
    (folder.root / "c.py").write_text("version 0\n")
    assert folder.version() == 0


def test_the_lock_is_held_during_the_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    id = folder.prepare()
    refused = []

    def try_lock() -> None:
        with open(Path(folder.logs) / "repairs" / ".lock") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused.append(True)

    during_the_last_stage(monkeypatch, try_lock)
    transaction.apply(folder.logs, id)
    assert refused == [True]
