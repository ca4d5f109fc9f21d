"""What a boot tells of the memory: it is probed, and a mission without one goes on."""

from __future__ import annotations

from pathlib import Path

from neoabzu_memory import LAYERS, MemoryBundle
from tests.memory.boot import told
from tests.memory.support import run


async def test_every_layer_is_ready_and_the_file_is_let_go(tmp_path: Path) -> None:
    layers, said = await told(tmp_path / "logs")
    assert (layers, said) == (dict.fromkeys(LAYERS, "ready"), [])
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"razar_memory.db"}
    with MemoryBundle(tmp_path / "logs" / "razar_memory.db") as bundle:
        assert bundle.stats()["layers"]["working"]["records"] == 0


async def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "razar_memory.db").write_bytes(b"something else" * 100)
    layers, said = await told(tmp_path)
    assert set(layers) == set(LAYERS) and len(said) == 4
    assert said[0].startswith("WARN Memory layer working: error: ") and "not a memory file" in said[0]


def test_without_the_extension_it_is_told_what_to_do(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        sys.modules["razar._native"] = None
        from pathlib import Path
        from tests.memory.boot import told
        layers, [said] = asyncio.run(told(Path(sys.argv[1])))
        print(*layers, said)
    """
    said = run(script, tmp_path)
    assert said.startswith("bundle WARN Memory layer bundle: error: ImportError: ") and "make setup" in said


def test_nothing_of_it_is_imported_before_it_is_asked() -> None:
    script = """
        import sys
        import razar.boot_orchestrator, razar.boot.job, razar.boot.native_services
        print([name for name in sys.modules if "memory" in name or "_native" in name])
    """
    assert run(script).strip() == "[]"
