"""Boot a mission and keep it running."""

from __future__ import annotations

__all__ = ["forward"]


def forward(argv: list[str]) -> int:
    """Hand the arguments to the boot as they are; it is the same program."""
    from razar.boot_orchestrator import main

    return main(argv)
