"""The extension module. Its submodules have packages of their own, which hold their types."""

from types import ModuleType

neoabzu_core: ModuleType
neoabzu_crown: ModuleType
neoabzu_kimicho: ModuleType
neoabzu_memory: ModuleType
