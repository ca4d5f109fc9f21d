"""The copy of a mission that an agent on this machine works in, with secrets masked, and what it changed there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from msgspec import Struct

from agents.razar.agent import Sent
from agents.razar.errors import ConfigurationError, ProposalRefusedError
from agents.razar.local.text_changes import Shown, edits_between
from agents.razar.patching.left_out import left_out
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.scratch import Limits, export
from agents.razar.proposals.proposal import EDITS_LIMIT, Edit
from agents.razar.providers.material import receipt
from razar.utils.redaction import MASK, redact

__all__ = ["FILE_LIMIT", "MaskedExport", "edits_of", "export_masked", "harvest", "read_text"]

#: Larger files are not copied, in bytes.
FILE_LIMIT = 1 << 20
_TOTAL = 64 << 20


class MaskedExport(Struct, frozen=True, kw_only=True):
    """A copy in ``folder``: its files by path, and what could leave the machine through it."""

    folder: str
    root: str
    files: dict[str, Shown]
    sent: tuple[Sent, ...]


def export_masked(
    root: str,
    target: str,
    *,
    to: str,
    leave_out: Iterable[str] = (),
    redactor: Callable[[str], str] = redact,
    stopped: Callable[[], bool] = lambda: False,
) -> MaskedExport:
    """Copy the text files of a mission into ``target``, which is made, with every secret masked.

    Binary files and those over a mebibyte are left out, and what ``patching.scratch`` leaves out.
    Raises ConfigurationError for a mission that cannot be copied; ``stopped`` ends it early.
    """
    try:
        export(root, target, leave_out=leave_out, limits=Limits(total_bytes=_TOTAL, file_bytes=FILE_LIMIT))
    except Refusal as refusal:
        raise ConfigurationError(f"{root}: {refusal}") from None
    except OSError as fault:
        raise ConfigurationError(f"{root} cannot be copied: {fault.strerror}") from None
    files: dict[str, Shown] = {}
    sent: list[Sent] = []
    for path in _walk(target):
        if stopped():
            break
        place = os.path.join(target, path)
        real = read_text(place)
        if real is None:
            os.unlink(place)
            continue
        text = redactor(real)
        if text != real:
            with open(place, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        files[path] = Shown(path=path, real=real, text=text)
        sent.append(receipt(f"file {path}", to, text.encode(), _masks(real, text)))
    return MaskedExport(folder=target, root=root, files=files, sent=tuple(sent))


def harvest(copy: MaskedExport) -> dict[str, str]:
    """What an agent wrote into the copy: new texts by path. Raises ProposalRefusedError for what is no text."""
    found: dict[str, str] = {}
    for path in _walk(copy.folder):
        text = read_text(os.path.join(copy.folder, path))
        shown = copy.files.get(path)
        if text is None:
            raise ProposalRefusedError(f"the answer is refused: {path!a} is no longer a text file")
        if shown is None or shown.text != text:
            found[path] = text
    gone = [path for path in copy.files if not os.path.lexists(os.path.join(copy.folder, path))]
    if gone:
        raise ProposalRefusedError(f"the answer is refused: it deletes or renames {gone[0]!a}")
    return found


def edits_of(copy: MaskedExport, changed: dict[str, str]) -> list[Edit]:
    """The edits that turn the real files into what an agent made of the shown ones."""
    edits: list[Edit] = []
    for path, text in sorted(changed.items()):
        shown = copy.files.get(path)
        if shown is not None:
            edits += edits_between(shown, text)
        elif os.path.lexists(os.path.join(copy.root, path)):
            raise ProposalRefusedError(f"the answer is refused: it writes {path!a}, which it was not shown")
        else:
            edits.append(Edit(path=path, content=text))
    if len(edits) > EDITS_LIMIT:
        raise ProposalRefusedError(f"the answer is refused: it changes more than {EDITS_LIMIT} places")
    return edits


def read_text(path: str) -> str | None:
    """The text of a regular file that is no link; None for what is none, or too large."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_LIMIT:
            return None
        data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _walk(folder: str) -> list[str]:
    """Every file below a folder, links to files included, by relative path; what is never copied left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not left_out(name))
        for name in sorted(names):
            if not left_out(name):
                found.append(os.path.relpath(os.path.join(place, name), folder))
    return found


def _masks(real: str, text: str) -> int:
    """How many places were masked, as far as that can be told from the two texts."""
    if real == text:
        return 0
    return max(1, text.count(MASK) - real.count(MASK))
