"""Building environments: what is installed, locked, logged and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from razar.environment_builder import EnvironmentFailure, LayerEnvironment
from tests.environments.conftest import Mission, output, spec
from tests.environments.packages import make_project, make_wheel


async def test_a_layer_gets_its_locked_packages_and_bytecode(mission: Mission) -> None:
    make_wheel(
        mission.wheels, "alpha", requires=["beta>=1"], script="alpha-run", source="def main(): print('ran')\n"
    )
    make_wheel(mission.wheels, "beta", "2.0", source="VALUE = 'beta'\n")

    built = await mission.build(spec("alpha"))

    assert built.outcome == "built"
    assert built.warnings == ()
    assert built.seconds > 0
    assert built.python == os.path.join(built.bin, "python") and built.bin == os.path.join(
        built.folder, "bin"
    )
    assert os.path.basename(built.folder).startswith(built.digest[:16] + "-")
    assert os.path.realpath(mission.layer() / "current") == os.path.realpath(built.folder)
    assert output(built.python, "-c", "import beta; print(beta.VALUE)") == "beta"
    assert output(os.path.join(built.bin, "alpha-run")) == "ran"
    site = Path(output(built.python, "-c", "import beta; print(beta.__file__)")).parent.parent
    assert list((site / "beta" / "__pycache__").glob("__init__*.pyc"))
    # The copy is the environment's own: a link would let an edit reach uv's cache.
    assert os.stat(site / "beta" / "__init__.py").st_nlink == 1


async def test_the_lock_has_hashes_and_says_nothing_about_this_machine(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha", requires=["beta"])
    make_wheel(mission.wheels, "beta")
    make_project(mission.root / "packages", "mine", requires=["beta"])

    await mission.build(spec("alpha", "./packages/mine"))

    text = mission.lock().read_text()
    assert "alpha==1.0" in text and "beta==1.0" in text
    assert text.count("--hash=sha256:") == 2
    assert "mine" not in "".join(line for line in text.splitlines() if not line.strip().startswith("#"))
    for word in (
        str(mission.root),
        str(mission.root.parent),
        "127.0.0.1",
        "http",
        "file:",
        ".razar",
        os.uname().nodename,
    ):
        assert word not in text, word


async def test_an_unchanged_layer_is_not_built_again(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    first = await mission.build(spec("alpha"))
    mission.index.requests.clear()
    written = mission.log.stat().st_size

    again = await mission.build(spec("alpha"))

    assert again.outcome == "unchanged"
    assert (again.folder, again.digest) == (first.folder, first.digest)
    assert mission.index.requests == []
    assert mission.log.stat().st_size == written


async def test_an_unchanged_layer_starts_no_process_and_imports_nothing_heavy(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    await mission.build(spec("alpha"))
    program = f"""
import asyncio, resource, sys
started = []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"):
        started.append(event)
sys.addaudithook(hook)
from razar.config.model import EnvironmentSpec
from razar.environment_builder import check, prepare
spec = EnvironmentSpec(layer="web", python=">=3.11", dependencies=("alpha",))
[found] = check([spec], root={str(mission.root)!r})
[prepared] = asyncio.run(prepare([spec], root={str(mission.root)!r}, log="/nonexistent/log", environ={{}}))
assert found.outcome == prepared.outcome == "unchanged"
assert started == [], started
assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss == 0
heavy = {{"uv", "hashlib", "tempfile", "shutil", "razar.environments.build", "razar.launchers.processes"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
print("nothing started")
"""
    found = output(sys.executable, "-c", program, environ={"PYTHONPATH": os.getcwd()})
    assert found == "nothing started"


async def test_a_layer_without_dependencies_gets_an_empty_environment(mission: Mission) -> None:
    built = await mission.build(spec())
    assert output(built.python, "-c", "import sys; print(sys.prefix)") == os.path.realpath(built.folder)
    assert mission.index.requests == []
    assert (await mission.build(spec(), locked=True)).outcome == "unchanged"


async def test_a_changed_entry_builds_a_new_environment_beside_the_old_one(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha", "1.0")
    make_wheel(mission.wheels, "beta")
    first = await mission.build(spec("alpha"))
    make_wheel(mission.wheels, "alpha", "2.0")

    second = await mission.build(spec("alpha", "beta"))

    assert second.outcome == "built" and second.folder != first.folder and second.digest != first.digest
    assert output(second.python, "-c", "import beta; print(beta.VALUE)") == "1"
    # Adding a dependency does not move the versions of the others.
    assert "alpha==1.0" in mission.lock().read_text()
    assert os.path.exists(first.python)
    third = await mission.build(spec("beta"))
    assert mission.environments() == {os.path.basename(second.folder), os.path.basename(third.folder)}


async def test_going_back_to_the_previous_entry_needs_no_installation(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")
    first = await mission.build(spec("alpha"))
    await mission.build(spec("beta"))
    back = await mission.build(spec("alpha"))
    assert (back.folder, back.outcome) == (first.folder, "unchanged")
    assert (await mission.build(spec("alpha"))).folder == first.folder


def start(python: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE)


async def test_an_old_environment_in_use_is_not_removed(mission: Mission) -> None:
    for name in ("alpha", "beta", "gamma"):
        make_wheel(mission.wheels, name)
    first = await mission.build(spec("alpha"))
    component = start(first.python)
    try:
        await mission.build(spec("beta"))
        third = await mission.build(spec("gamma"))
        assert os.path.exists(first.python)
    finally:
        component.communicate(b"\n")
    await mission.build(spec("alpha", "gamma"))
    assert not os.path.exists(first.folder)
    assert os.path.exists(third.folder)


async def test_two_layers_are_built_and_one_that_fails_stops_neither(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")

    results = await mission.prepare(
        spec("alpha", layer="one"), spec("nosuchthing", layer="two"), spec("beta", layer="three")
    )

    assert [type(one) for one in results] == [LayerEnvironment, EnvironmentFailure, LayerEnvironment]
    assert [one.layer for one in results] == ["one", "two", "three"]
    assert isinstance(results[2], LayerEnvironment)
    assert output(results[2].python, "-c", "import beta; print(beta.VALUE)") == "1"


async def test_layers_are_built_at_the_same_time(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")
    mission.index.gate.clear()
    asked = mission.index.answer

    def answer(path: str) -> bytes | None:
        # Files are handed out once both layers want one; a builder that waits its turn never gets there.
        if len({one for one in mission.index.requests if one.endswith(".whl")}) == 2:
            mission.index.gate.set()
        return asked(path)

    mission.index.answer = answer  # type: ignore[method-assign]
    results = await mission.prepare(spec("alpha", layer="one"), spec("beta", layer="two"))
    assert all(isinstance(one, LayerEnvironment) for one in results)


async def test_progress_and_log_tell_what_happens_with_time_and_layer(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    await mission.build(spec("alpha"))
    assert ("web", "resolving 1 dependencies") in mission.progress
    assert any(line.startswith("Installed 1 package") for _, line in mission.progress)
    lines = mission.log.read_text().splitlines()
    assert all(line[0] == "[" and line[20:23] == "Z] " and line[23:].startswith("web: ") for line in lines)
    assert any("$ uv pip sync" in line for line in lines)
    assert not any(line.startswith("$") for _, line in mission.progress)
    assert oct(mission.log.stat().st_mode)[-3:] == "640"
