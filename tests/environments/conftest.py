"""A mission folder whose packages come from an index on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from razar.config.model import EnvironmentSpec
from razar.environment_builder import EnvironmentFailure, LayerEnvironment, prepare
from tests.environments.packages import Index, serve


@dataclass
class Mission:
    """A folder to build environments in, and what uv sees of the world."""

    root: Path
    index: Index
    environ: dict[str, str]
    progress: list[tuple[str, str]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.root / "logs" / "environments.log"

    @property
    def wheels(self) -> Path:
        return self.index.folder

    def lock(self, layer: str = "web") -> Path:
        return self.root / "razar_env.lock" / f"{layer}.txt"

    def layer(self, layer: str = "web") -> Path:
        return self.root / ".razar" / "environments" / layer

    def environments(self, layer: str = "web") -> set[str]:
        return {one.name for one in self.layer(layer).iterdir() if one.is_dir() and not one.is_symlink()}

    def own_cache(self) -> Path:
        """Use an empty uv cache that no other test has a part in."""
        cache = self.root.parent / "cache"
        self.environ["UV_CACHE_DIR"] = str(cache)
        return cache

    async def prepare(
        self, *specs: EnvironmentSpec, **options: bool
    ) -> list[LayerEnvironment | EnvironmentFailure]:
        return await prepare(
            specs,
            root=str(self.root),
            log=str(self.log),
            environ=self.environ,
            on_progress=lambda layer, line: self.progress.append((layer, line)),
            **options,
        )

    async def build(self, spec: EnvironmentSpec, **options: bool) -> LayerEnvironment:
        [result] = await self.prepare(spec, **options)
        assert isinstance(result, LayerEnvironment), result.message
        return result

    async def fail(self, spec: EnvironmentSpec, **options: bool) -> str:
        [result] = await self.prepare(spec, **options)
        assert isinstance(result, EnvironmentFailure), result
        assert result.message.startswith(f"layer {spec.layer}: ")
        assert "\n" not in result.message
        return result.message


def output(*command: str, environ: dict[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed; it must succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environ or {})}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def spec(*dependencies: str, layer: str = "web", python: str = ">=3.11") -> EnvironmentSpec:
    return EnvironmentSpec(layer=layer, python=python, dependencies=dependencies)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What uv found out about interpreters serves every test; packages differ by their index."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def mission(tmp_path: Path, cache: Path) -> Iterator[Mission]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    root = tmp_path / "mission"
    root.mkdir()
    with serve(wheels) as index:
        environ = {
            "PATH": f"{os.path.join(sys.base_prefix, 'bin')}:/usr/bin:/bin",
            "HOME": str(tmp_path / "home"),
            "UV_CACHE_DIR": str(cache),
            "UV_DEFAULT_INDEX": index.url(),
            "UV_HTTP_RETRIES": "0",
            "UV_NO_CONFIG": "1",
        }
        yield Mission(root, index, environ)
