"""Files of a mission, reached folder by folder through descriptors, so that no link leads astray."""

from __future__ import annotations

import errno
import os
import stat

from msgspec import Struct

from agents.razar.patching.refusal import Refusal
from razar.utils.digests import sha256_hex

__all__ = ["Existing", "Tree"]

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Existing(Struct, frozen=True, kw_only=True):
    """A regular file as it was when it was read; ``mode`` holds the permission bits."""

    data: bytes
    sha256: str
    mode: int
    uid: int
    gid: int


class Tree:
    """The mission folder, held open: whatever happens to its name, the files stay the same ones."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self.fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def folder(self, path: str) -> int:
        """Open the folder of a file, O_PATH; the caller closes it. Refuses links on the way."""
        fd = os.dup(self.fd)
        walked = ""
        for name in path.split("/")[:-1]:
            walked = f"{walked}{name}/"
            try:
                inner = os.open(name, _FOLDER, dir_fd=fd)
            except OSError as error:
                # O_PATH|O_NOFOLLOW opens a link itself, which O_DIRECTORY then finds to be no folder.
                raise Refusal(_no_folder(walked, error, _is_link(name, fd))) from None
            finally:
                os.close(fd)
            fd = inner
        return fd

    def look(self, path: str, folder: int) -> os.stat_result | None:
        """Stat a file without following it; None if there is nothing of this very name."""
        name = path.rpartition("/")[2]
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def read(self, path: str, *, limit: int) -> Existing | None:
        """Read a file that may be patched; None if there is none. Refuses all but plain, single files."""
        folder = self.folder(path)
        try:
            return self.read_in(path, folder, limit=limit)
        finally:
            os.close(folder)

    def read_in(self, path: str, folder: int, *, limit: int, links: int = 1) -> Existing | None:
        """As :meth:`read`, in a folder that is open already; ``links`` is how many names it may have."""
        name = path.rpartition("/")[2]
        seen = self.look(path, folder)
        if seen is None:
            return None
        check_plain(path, seen, links=links)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise Refusal(f"{path!a} cannot be read: {error.strerror}", passing=True) from None
        with open(fd, "rb") as file:
            held = os.fstat(fd)
            # Between the look and the opening somebody may have put another file there.
            check_plain(path, held, links=links)
            if held.st_size > limit:
                raise Refusal(f"{path!a} has {held.st_size} bytes; the limit for a file is {limit}")
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Refusal(f"{path!a} has more than {limit} bytes, the limit for a file")
        mode = stat.S_IMODE(held.st_mode)
        return Existing(data=data, sha256=sha256_hex(data), mode=mode, uid=held.st_uid, gid=held.st_gid)

    def check_spelling(self, path: str) -> None:
        """Refuse a path that is spelled otherwise on the disk, or differs from a neighbour in case alone.

        Names beyond ASCII are taken only if exactly that name is there already.
        """
        fd = os.dup(self.fd)
        try:
            for depth, name in enumerate(path.split("/")):
                listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
                try:
                    names = os.listdir(listing)
                finally:
                    os.close(listing)
                _check_neighbours(path, name, names)
                if "HEAD" in names and "objects" in names and "refs" in names:
                    raise Refusal(f"{path!a} lies in a repository's own folder")
                if depth == path.count("/"):
                    return
                inner = os.open(name, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
        except OSError as error:
            raise Refusal(f"{path!a} cannot be looked up: {error.strerror}", passing=True) from None
        finally:
            os.close(fd)


def check_plain(path: str, seen: os.stat_result, *, links: int = 1) -> None:
    """Refuse what is no regular file with one name and ordinary permissions."""
    if stat.S_ISLNK(seen.st_mode):
        raise Refusal(f"{path!a} is a symbolic link")
    if not stat.S_ISREG(seen.st_mode):
        raise Refusal(f"{path!a} is no regular file")
    if seen.st_nlink > links:
        raise Refusal(f"{path!a} is one file with {seen.st_nlink} names (hard links)")
    if seen.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise Refusal(f"{path!a} runs with the rights of its owner (setuid or setgid)")


def _check_neighbours(path: str, name: str, names: list[str]) -> None:
    if name in names:
        return
    if not name.isascii():
        raise Refusal(f"{path!a}: new names must be plain ASCII, others can look like another name")
    alike = [other for other in names if other.casefold() == name.casefold()]
    if alike:
        raise Refusal(f"{path!a} differs from {alike[0]!a} in upper and lower case alone")


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _no_folder(walked: str, error: OSError, link: bool) -> str:
    if link or error.errno == errno.ELOOP:
        return f"{walked!a} is a symbolic link"
    if error.errno == errno.ENOENT:
        return f"the folder {walked!a} does not exist; a repair makes no folders"
    if error.errno == errno.ENOTDIR:
        return f"{walked!a} is no folder"
    return f"{walked!a} cannot be entered: {error.strerror}"
