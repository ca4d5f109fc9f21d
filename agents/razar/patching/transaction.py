"""The swap of files, with a journal: after any interruption all of a patch is in place, or none of it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from agents.razar.patching.journal import (
    FOLDER,
    LIMIT,
    Entry,
    Manifest,
    State,
    folder_of,
    known,
    load,
    set_state,
    state_of,
    stored,
)
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.tree import Tree
from razar.utils import files
from razar.utils.digests import sha256_hex

__all__ = ["UnfinishedError", "apply", "keep", "recover", "rollback", "said"]


#: What may lie beside a file for a while: its new version, the old file itself, a copy of it.
_ASIDE = ("new", "old", "back")


class UnfinishedError(OSError):
    """Some repairs could not be undone: ``stuck`` says why, by id; the ids in ``undone`` were."""

    def __init__(self, undone: list[str], stuck: dict[str, str]) -> None:
        super().__init__("; ".join(f"{id}: {why}" for id, why in stuck.items()))
        self.undone = undone
        self.stuck = stuck


@contextmanager
def _locked(logs: str) -> Iterator[None]:
    """One swap at a time, whoever makes it."""
    os.makedirs(os.path.join(logs, FOLDER), mode=0o750, exist_ok=True)
    fd = os.open(os.path.join(logs, FOLDER, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def apply(logs: str, id: str) -> Manifest:
    """Put the patched files in place, all or none; state ``applied``.

    Raises Refusal if a file is no longer what the proposal was made for, or if the disk refuses; the
    files are then as they were.
    """
    with _locked(logs):
        if state_of(logs, id) != "proposed":
            raise Refusal(f"the repair {id} is not waiting to be applied; its state is {state_of(logs, id)}")
        manifest = load(logs, id)
        _check_alone(logs, manifest)
        set_state(logs, id, "swapping")
        try:
            with Tree(manifest.root) as tree:
                for number, entry in enumerate(manifest.entries):
                    _stage(tree, logs, manifest, number, entry)
                for number, entry in enumerate(manifest.entries):
                    _exchange(tree, manifest, number, entry)
            set_state(logs, id, "applied")
        except BaseException as error:
            _give_up(logs, manifest, error)
            raise
        return manifest


def _check_alone(logs: str, manifest: Manifest) -> None:
    """Refuse files that another patch holds which has yet to prove itself: undoing that would undo this."""
    paths = {entry.path for entry in manifest.entries}
    for other in known(logs):
        if other != manifest.id and state_of(logs, other) in ("swapping", "applied"):
            theirs = load(logs, other)
            shared = [entry.path for entry in theirs.entries if entry.path in paths]
            if shared and theirs.root == manifest.root:
                reason = f"{shared[0]!a} belongs to the repair {other}, which is neither kept nor undone yet"
                raise Refusal(reason, passing=True)


def _give_up(logs: str, manifest: Manifest, error: BaseException) -> None:
    """Undo a swap that failed. The journal stays open if the disk refuses even that: see recover.

    A patch that an operator is asked about goes on waiting after what says nothing against it.
    """
    late = ""
    passing = isinstance(error, OSError) or (isinstance(error, Refusal) and error.passing)
    try:
        _restore(logs, manifest, "proposed" if passing and manifest.waits else "rolled_back")
    except (OSError, Refusal) as fault:
        late = f"; not all could be undone yet ({fault}), the next start will"
    if late or isinstance(error, OSError):
        reason = files.why(error) if isinstance(error, OSError) else str(error)
        raise Refusal(f"the files could not be put in place: {reason}{late}", passing=True) from None


def _aside(id: str, number: int, what: str) -> str:
    # Known from the manifest alone, so that what a kill leaves is found again.
    return f".razar-{id}-{number}.{what}"


def _name(entry: Entry) -> str:
    return entry.path.rpartition("/")[2]


def _stage(tree: Tree, logs: str, manifest: Manifest, number: int, entry: Entry) -> None:
    """Write the new file beside the old one, with its mode and owner. A full disk is noticed here."""
    data = stored(logs, manifest.id, "patched", number, entry.sha256_after)
    folder = tree.folder(entry.path)
    try:
        seen = tree.look(entry.path, folder)
        _write(folder, _aside(manifest.id, number, "new"), data, entry.mode, seen)
        if entry.sha256_before is not None:
            _check_unchanged(tree, entry, folder, 1)
            try:
                # The old file itself stays within reach: to bring it back needs no space on the disk.
                os.link(
                    _name(entry),
                    _aside(manifest.id, number, "old"),
                    src_dir_fd=folder,
                    dst_dir_fd=folder,
                    follow_symlinks=False,
                )
            except PermissionError:
                pass  # A file system without hard links: the stored copy will do.
        _sync(folder)
    finally:
        os.close(folder)


def _write(folder: int, name: str, data: bytes, mode: int, owner: os.stat_result | None) -> None:
    fd = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, owner.st_uid, owner.st_gid)
        files.write_all(fd, data)
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_unchanged(tree: Tree, entry: Entry, folder: int, links: int) -> None:
    found = tree.read_in(entry.path, folder, limit=LIMIT, links=links)
    if (found.sha256 if found else None) != entry.sha256_before or (found and found.mode != entry.mode):
        raise Refusal(f"{entry.path!a} was changed after the proposal was made", passing=True)


def _exchange(tree: Tree, manifest: Manifest, number: int, entry: Entry) -> None:
    folder = tree.folder(entry.path)
    try:
        name, new = _name(entry), _aside(manifest.id, number, "new")
        _check_unchanged(tree, entry, folder, 2)
        if entry.sha256_before is None:
            # A link fails if the name was taken meanwhile; a rename would overwrite.
            os.link(new, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(new, dir_fd=folder)
        else:
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        _sync(folder)
    except FileExistsError:
        raise Refusal(f"{entry.path!a} was made by somebody else meanwhile", passing=True) from None
    finally:
        os.close(folder)


def keep(logs: str, id: str) -> Manifest:
    """The patch held: let it stay. Raises Refusal unless it is applied."""
    with _locked(logs):
        manifest = load(logs, id)
        state = state_of(logs, id)
        if state not in ("applied", "kept"):
            raise Refusal(f"the repair {id} is not applied; its state is {state}")
        set_state(logs, id, "kept")
        _tidy(manifest)
        return manifest


def rollback(logs: str, id: str) -> tuple[Manifest, tuple[str, ...]]:
    """Give every file its bytes and mode back; files that the patch made are removed.

    It may be called any number of times. A file that somebody else has changed since is saved below
    ``found/`` of the transaction, then restored as well; their paths are returned. After ``keep``
    the state becomes ``reverted``, else ``rolled_back``. Raises Refusal, OSError.
    """
    with _locked(logs):
        manifest = load(logs, id)
        state = state_of(logs, id)
        if state in ("proposed", "rejected"):
            raise Refusal(f"the repair {id} was never applied")
        if state in ("rolled_back", "reverted"):
            return manifest, ()  # Whatever is there now came later.
        try:
            return manifest, _restore(logs, manifest, "reverted" if state == "kept" else "rolled_back")
        except (OSError, Refusal):
            if state == "kept":  # It is to go, and is not gone: the next start sees to it.
                set_state(logs, id, "applied")
            raise


def recover(logs: str) -> list[str]:
    """Roll back every transaction that was neither kept nor undone; returns their ids.

    Call it when no other process works on these logs, before anything is started. Left-over copies of
    trees are removed too. One transaction that resists does not stop the others: it is tried again
    by the next call. Raises UnfinishedError for those when all have been seen to.
    """
    from agents.razar.patching import place, scratch

    undone: list[str] = []
    stuck: dict[str, str] = {}
    for id in known(logs):
        folder = folder_of(logs, id)
        try:
            state = state_of(logs, id)
            place.remove(logs, id)
            if state is None and not os.path.exists(os.path.join(folder, "state")):
                if not os.path.exists(os.path.join(folder, "report.json")):
                    scratch.remove(folder)  # Killed while it was prepared: nothing was changed.
            elif state in ("swapping", "applied", None):
                with _locked(logs):
                    _restore(logs, load(logs, id), "rolled_back")
                undone.append(id)
            elif state == "proposed" and not load(logs, id).waits:
                set_state(logs, id, "rejected")  # It was about to be applied; nobody is asked about it.
            elif state != "proposed":
                _tidy(load(logs, id))
        except (OSError, Refusal) as error:
            stuck[id] = said(error)
    if stuck:
        raise UnfinishedError(undone, stuck)
    return undone


def said(fault: OSError | Refusal) -> str:
    """Why it did not work, with the file if it is known."""
    if isinstance(fault, Refusal):
        return str(fault)
    return f"{fault.filename}: {files.why(fault)}" if isinstance(fault.filename, str) else files.why(fault)


def _restore(logs: str, manifest: Manifest, state: State) -> tuple[str, ...]:
    foreign, fault = [], None
    with Tree(manifest.root) as tree:
        for number, entry in enumerate(manifest.entries):
            try:
                if _restore_one(tree, logs, manifest, number, entry):
                    foreign.append(entry.path)
            except (OSError, Refusal) as error:
                fault = fault or error  # The others must come back all the same.
    if fault is not None:
        raise fault
    set_state(logs, manifest.id, state)
    _tidy(manifest)
    return tuple(foreign)


def _restore_one(tree: Tree, logs: str, manifest: Manifest, number: int, entry: Entry) -> bool:
    """Restore one file; tell whether it had been changed by somebody else."""
    folder = tree.folder(entry.path)
    try:
        name = _name(entry)
        new, old, back = (_aside(manifest.id, number, what) for what in _ASIDE)
        seen = tree.look(entry.path, folder)
        now = _digest_of(folder, name) if seen is not None and stat.S_ISREG(seen.st_mode) else None
        if state_of(logs, manifest.id) == "swapping" and now != entry.sha256_after:
            staged, linked = (_exists(folder, aside) for aside in (new, old))
            if staged or not linked:
                # Its turn never came: whatever is there is not our doing. The link goes first, since
                # it alone would say that the turn had come.
                _unlink(folder, old)
                _unlink(folder, new)
                return False
        foreign = seen is not None and now not in (entry.sha256_before, entry.sha256_after)
        if foreign:
            _save(logs, manifest.id, number, folder, name)
        if entry.sha256_before is None:
            _unlink(folder, name)
        elif now == entry.sha256_before:
            os.chmod(name, entry.mode, dir_fd=folder)
        elif _digest_of(folder, old) == entry.sha256_before:
            os.chmod(old, entry.mode, dir_fd=folder)
            os.rename(old, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            data = stored(logs, manifest.id, "original", number, entry.sha256_before)
            _unlink(folder, back)
            _write(folder, back, data, entry.mode, seen)
            os.rename(back, name, src_dir_fd=folder, dst_dir_fd=folder)
        _unlink(folder, old)
        _unlink(folder, new)
        _sync(folder)
        return foreign
    finally:
        os.close(folder)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _digest_of(folder: int, name: str) -> str | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with open(fd, "rb") as file:
        return sha256_hex(file.read(LIMIT))


def _save(logs: str, id: str, number: int, folder: int, name: str) -> None:
    """Keep what somebody else wrote, before it is replaced."""
    kept = os.path.join(folder_of(logs, id), "found")
    os.makedirs(kept, mode=0o750, exist_ok=True)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    with open(fd, "rb") as file:
        files.replace(os.path.join(kept, str(number)), file.read(LIMIT))


def _tidy(manifest: Manifest) -> None:
    """Remove what lies beside the files; what cannot be removed is harmless."""
    try:
        with Tree(manifest.root) as tree:
            for number, entry in enumerate(manifest.entries):
                folder = tree.folder(entry.path)
                try:
                    for what in _ASIDE:
                        _unlink(folder, _aside(manifest.id, number, what))
                finally:
                    os.close(folder)
    except (OSError, Refusal):
        pass


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def _sync(folder: int) -> None:
    # The descriptor is O_PATH, which cannot be synced.
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
