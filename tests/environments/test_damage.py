"""Environments that were changed after the installation."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from razar.environment_builder import LayerEnvironment, check
from razar.environments.stamp import stamp_path
from tests.environments.conftest import Mission, spec
from tests.environments.packages import make_wheel


def package(built: LayerEnvironment, name: str = "alpha") -> Path:
    [folder] = Path(built.folder).glob(f"lib/python*/site-packages/{name}")
    return folder


def same_size(path: Path) -> None:
    """Change one byte in place."""
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    with path.open("r+b") as file:
        file.write(data)


@pytest.fixture
async def built(mission: Mission) -> LayerEnvironment:
    make_wheel(mission.wheels, "alpha", script="alpha-run")
    return await mission.build(spec("alpha"))


async def assert_rebuilt(
    mission: Mission, old: LayerEnvironment, named: Path, word: str, **options: bool
) -> None:
    new = await mission.build(spec("alpha"), **options)
    assert new.outcome == "built"
    assert new.folder != old.folder and new.digest == old.digest
    [warning] = new.warnings
    assert warning.startswith("layer web: ") and str(named) in warning and word in warning
    assert os.path.basename(old.folder) not in mission.environments()
    assert (await mission.build(spec("alpha"), **options)).outcome == "unchanged"


async def test_a_changed_file_is_noticed_and_named(mission: Mission, built: LayerEnvironment) -> None:
    file = package(built) / "__init__.py"
    same_size(file)
    await assert_rebuilt(mission, built, file, "was changed after the installation")
    [new] = await mission.prepare(spec("alpha"))
    assert isinstance(new, LayerEnvironment)
    assert (package(new) / "__init__.py").read_text() == "VALUE = 1\n"


async def test_a_change_is_noticed_though_its_modification_time_was_set_back(
    mission: Mission, built: LayerEnvironment
) -> None:
    file = package(built) / "__init__.py"
    before = file.stat()
    same_size(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns and file.stat().st_size == before.st_size
    await assert_rebuilt(mission, built, file, "was changed")


async def test_a_missing_file_is_named(mission: Mission, built: LayerEnvironment) -> None:
    file = package(built) / "data.txt"
    file.unlink()
    await assert_rebuilt(mission, built, file, "is missing")


async def test_a_missing_package_is_noticed(mission: Mission, built: LayerEnvironment) -> None:
    shutil.rmtree(package(built))
    assert check([spec("alpha")], root=str(mission.root)) == [None]
    await assert_rebuilt(mission, built, package_path(built), "is missing")


def package_path(built: LayerEnvironment) -> Path:
    [site] = Path(built.folder).glob("lib/python*/site-packages")
    return site / "alpha"


async def test_a_removed_environment_is_rebuilt(mission: Mission, built: LayerEnvironment) -> None:
    shutil.rmtree(built.folder)
    new = await mission.build(spec("alpha"))
    assert new.outcome == "built" and os.path.exists(new.python)


async def test_pyvenv_cfg_and_scripts_are_watched_too(mission: Mission, built: LayerEnvironment) -> None:
    config = Path(built.folder) / "pyvenv.cfg"
    config.write_text(config.read_text() + "include-system-site-packages = true\n")
    await assert_rebuilt(mission, built, config, "was changed")
    [again] = await mission.prepare(spec("alpha"))
    assert isinstance(again, LayerEnvironment)
    script = Path(again.bin) / "alpha-run"
    script.chmod(0o644)
    await assert_rebuilt(mission, again, script, "can no longer be executed")


async def test_another_interpreter_link_is_noticed(mission: Mission, built: LayerEnvironment) -> None:
    link = Path(built.python)
    link.unlink()
    link.symlink_to("/bin/true")
    await assert_rebuilt(mission, built, link, "was changed")


@pytest.mark.parametrize(
    "name", ["lib/python*/site-packages/hook.pth", "lib/python*/site-packages/beta/x", "bin/pip"]
)
async def test_what_was_added_where_python_looks_is_named(
    mission: Mission, built: LayerEnvironment, name: str
) -> None:
    pattern, _, rest = name.partition("site-packages/")
    [folder] = Path(built.folder).glob(pattern + "site-packages") if rest else [Path(built.bin)]
    file = folder / (rest or "pip")
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    named = folder / (rest or "pip").split("/")[0]
    await assert_rebuilt(mission, built, named, "was added after the installation")


async def test_caches_that_packages_keep_beside_their_modules_are_left_alone(
    mission: Mission, built: LayerEnvironment
) -> None:
    (package(built) / "cache.db").write_text("x")
    for bytecode in Path(built.folder).rglob("*.pyc"):
        bytecode.write_bytes(bytecode.read_bytes() + b"x")
    package(built).parent.joinpath("__pycache__").mkdir(exist_ok=True)
    assert (await mission.build(spec("alpha"), verify=True)).outcome == "unchanged"


async def test_a_touched_file_is_read_once_and_found_the_same(
    mission: Mission, built: LayerEnvironment
) -> None:
    file = package(built) / "__init__.py"
    file.touch()
    stamp = Path(stamp_path(built.folder))
    os.utime(stamp, (0, 0))  # The clock of the file system may not have moved on since it was written.
    [found] = check([spec("alpha")], root=str(mission.root))
    assert found is not None and found.outcome == "unchanged" and found.folder == built.folder
    remembered = stamp.stat().st_mtime_ns
    assert remembered > 0
    assert check([spec("alpha")], root=str(mission.root)) != [None]
    assert stamp.stat().st_mtime_ns == remembered  # The new time is known: nothing is read again.


async def test_verify_reads_what_size_and_time_do_not_show(mission: Mission, built: LayerEnvironment) -> None:
    file = package(built) / "__init__.py"
    same_size(file)
    # As after damage on the disk itself: the times are those of the stamp.
    stamp = Path(stamp_path(built.folder))
    value = json.loads(stamp.read_bytes())
    for path, names, _, changes, _ in value["folders"]:
        for row, name in enumerate(names):
            changes[row] = os.lstat(os.path.join(built.folder, path, name)).st_ctime_ns
    stamp.write_text(json.dumps(value))

    assert (await mission.build(spec("alpha"))).outcome == "unchanged"
    assert check([spec("alpha")], root=str(mission.root), verify=True) == [None]
    await assert_rebuilt(mission, built, file, "was changed", verify=True)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}'])
async def test_a_stamp_that_cannot_be_read_means_no_environment(
    mission: Mission, built: LayerEnvironment, text: str
) -> None:
    Path(stamp_path(built.folder)).write_text(text)
    new = await mission.build(spec("alpha"))
    assert new.outcome == "built" and new.folder != built.folder


async def test_a_damaged_layer_that_cannot_be_rebuilt_says_both(
    mission: Mission, built: LayerEnvironment
) -> None:
    mission.own_cache()
    file = package(built) / "__init__.py"
    same_size(file)
    for wheel in mission.wheels.iterdir():
        wheel.unlink()
    message = await mission.fail(spec("alpha"))
    assert f"The old one cannot be used: {file} was changed after the installation" in message
    assert os.path.exists(built.python)


async def test_an_altered_cache_does_not_reach_the_environment(mission: Mission) -> None:
    """Another tool that links installed files to uv's cache has let an edit through to it."""
    cache = mission.own_cache()
    make_wheel(mission.wheels, "alpha")
    built = await mission.build(spec("alpha"))
    [cached] = cache.glob("archive-v*/*/alpha/__init__.py")
    cached.write_text("VALUE = 666\n")
    (package(built) / "data.txt").unlink()

    message = await mission.fail(spec("alpha"), offline=True)
    assert "an altered copy of alpha" in message and "without --offline" in message
    mission.environ["UV_OFFLINE"] = "1"
    assert "an altered copy of alpha" in await mission.fail(spec("alpha"))
    del mission.environ["UV_OFFLINE"]

    new = await mission.build(spec("alpha"))
    assert (package(new) / "__init__.py").read_text() == "VALUE = 1\n"
    assert "uv's cache holds an altered copy of alpha" in mission.log.read_text()


async def test_a_package_published_with_a_wrong_record_is_accepted(mission: Mission) -> None:
    make_wheel(mission.wheels, "beta", record={"beta/__init__.py": "A" * 43})
    built = await mission.build(spec("beta"))
    assert built.warnings == ()
    assert "beta was published with a wrong entry for" in mission.log.read_text()
    assert (await mission.build(spec("beta"), verify=True)).outcome == "unchanged"
