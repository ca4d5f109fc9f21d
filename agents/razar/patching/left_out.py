"""What is never copied, nor shown to an agent: secrets, caches, version control, installed software."""

from __future__ import annotations

__all__ = ["INSTALLED", "left_out"]

#: Folders of installed software: not copied. A sandbox that can shows the real ones, read-only.
INSTALLED = frozenset({".razar", "node_modules"})
_NAMES = frozenset(
    {
        ".aws", ".bzr", ".git", ".gnupg", ".hg", ".hypothesis", ".kube", ".mypy_cache", ".netrc", ".npmrc", ".opencode",
        ".pgpass", ".pypirc", ".pytest_cache", ".ruff_cache", ".ssh", ".svn", "__pycache__",
        "AGENTS.md", "CLAUDE.md", "credentials.json",
    }
)  # fmt: skip
_BEGINNINGS = (".env", "id_ecdsa", "id_ed25519", "id_rsa", "opencode.json")
_ENDS = (".key", ".p12", ".pem", ".pfx", ".pyc")


def left_out(name: str) -> bool:
    """Whether a file or folder of this name is left out."""
    return name in _NAMES or name in INSTALLED or name.startswith(_BEGINNINGS) or name.endswith(_ENDS)
