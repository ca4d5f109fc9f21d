"""Writing a file whole, and taking a folder away."""

from __future__ import annotations

import os

__all__ = ["read_text", "remove_file", "remove_tree", "write_atomically", "write_text"]


def read_text(path: str) -> str:
    """Return a file's text, line ends as they are."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def write_text(path: str, text: str) -> None:
    """Write a file that nobody else reads meanwhile."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def write_atomically(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace a file so that a reader sees the old or the new one, whatever is killed when."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(3).hex()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise


def remove_file(path: str) -> None:
    """Remove a file if it is there and can be."""
    try:
        os.unlink(path)
    except OSError:
        return


def remove_tree(path: str) -> None:
    """Remove a folder as far as possible; what is left is taken away another time."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)
