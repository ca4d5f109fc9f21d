"""Builds that fail: what is said, what stays in place, what is never told."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from razar.environments.uv import uv_environ
from tests.environments.conftest import Mission, output, spec
from tests.environments.packages import make_project, make_wheel

SECRET = "hunter2-secret"


FAILURES = {
    "nosuchthing": ["there is no package named nosuchthing", "Check the spelling"],
    "alpha>=9": ["no set of versions suits", "alpha>=9", "only alpha==1.0 is available"],
    "needy": ["another version of Python", "needy"],
    "alpha >> 3": ["not written as PEP 508 asks", ">>", "razar_env.yaml"],
    "./packages/absent": ["'packages/absent'", "cannot be read", "No such file"],
    "-r other.txt": ["-r other.txt", "not a PEP 508 requirement"],
    "alpha\n--index-url http://evil.example": ["not a PEP 508 requirement"],
    # These two can be resolved but not installed.
    "foreign": ["foreign", "no build for this machine"],
    "./packages/broken": ["broken", "could not be built", "RuntimeError: no compiler here"],
}


async def test_each_failure_is_explained_and_the_old_environment_stays(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "needy", python=">=3.99")
    make_wheel(mission.wheels, "foreign", tag="cp311-cp311-win_arm64")
    make_project(mission.root / "packages", "broken", backend="raise RuntimeError('no compiler here')\n")
    old = await mission.build(spec("alpha"))
    lock = mission.lock().read_text()
    for dependency, words in FAILURES.items():
        message = await mission.fail(spec(dependency))
        for word in words:
            assert word in message, message
        assert str(mission.log) in message
        assert len(message) < 1500
        assert mission.environments() == {os.path.basename(old.folder)}
        if dependency not in ("foreign", "./packages/broken"):
            assert mission.lock().read_text() == lock
    again = await mission.build(spec("alpha"))
    assert again.folder == old.folder


async def test_a_python_that_is_not_there_is_named_with_those_that_are(mission: Mission) -> None:
    message = await mission.fail(spec(python=">=3.11,<3.11.1"))
    assert "Python >=3.11,<3.11.1" in message and "no such interpreter was found" in message
    assert f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}" in message
    message = await mission.fail(spec(python="3.99"))
    assert "Python 3.99" in message
    assert "is not a version" in await mission.fail(spec(python="/bin/sh"))


async def test_the_interpreter_that_runs_razar_is_preferred(mission: Mission) -> None:
    mission.environ["PATH"] = "/usr/bin:/bin"
    built = await mission.build(spec())
    assert os.path.realpath(built.python) == os.path.realpath(sys.executable)


async def test_an_interpreter_that_changed_means_a_new_environment(mission: Mission) -> None:
    first = await mission.build(spec())
    stamp = Path(first.folder + ".json")
    modified = str(os.stat(os.path.realpath(first.python)).st_mtime_ns)
    text = stamp.read_text()
    assert modified in text
    stamp.write_text(text.replace(modified, "1"))
    mission.progress.clear()
    assert (await mission.build(spec())).warnings == ()
    assert any("the interpreter" in line and "has changed" in line for _, line in mission.progress)


async def test_offline_uses_what_is_in_the_cache(mission: Mission) -> None:
    mission.own_cache()
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")
    message = await mission.fail(spec("alpha"), offline=True)
    assert "not in uv's cache" in message and "without --offline" in message
    assert mission.index.requests == []

    await mission.build(spec("alpha", layer="other"))
    mission.index.requests.clear()
    built = await mission.build(spec("alpha"), offline=True)
    assert built.outcome == "built" and mission.index.requests == []
    message = await mission.fail(spec("beta"), offline=True)
    assert "beta was not found in the cache" in message


async def test_an_index_that_cannot_be_reached_is_told_apart(mission: Mission) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        mission.environ["UV_DEFAULT_INDEX"] = (
            f"http://user:{SECRET}@127.0.0.1:{closed.getsockname()[1]}/simple"
        )
        message = await mission.fail(spec("alpha"))
    assert "the network or the package index cannot be reached" in message and "Connection refused" in message
    assert SECRET not in message + mission.log.read_text()


async def test_refused_credentials_are_named_as_the_cause_and_not_told(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    mission.index.credentials = f"user:{SECRET}"
    mission.environ["UV_DEFAULT_INDEX"] = mission.index.url("user:wrong-password")
    message = await mission.fail(spec("alpha"))
    assert "refused the credentials" in message and "401" in message
    everything = message + mission.log.read_text() + str(mission.progress)
    assert "wrong-password" not in everything


async def test_credentials_work_and_are_nowhere_to_be_found(mission: Mission) -> None:
    mission.own_cache()
    wheel = make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")
    mission.index.credentials = f"user:{SECRET}"
    mission.environ["UV_DEFAULT_INDEX"] = mission.index.url(f"user:{SECRET}")
    # A build that prints what it finds, too.
    backend = make_project(mission.root / "x", "loud").joinpath("backend.py").read_text()
    make_project(
        mission.root / "packages",
        "loud",
        backend=f"import os\nprint(os.environ, flush=True)\nassert os.environ['LOUD'] != 'yes'\n{backend}",
    )
    mission.environ["MY_TOKEN"] = SECRET
    address = mission.index.url("user:${MY_TOKEN}").replace("/simple", f"/files/{wheel.name}")
    wanted = (f"alpha @ {address}", "beta", "./packages/loud")
    mission.environ["LOUD"] = "yes"
    message = await mission.fail(spec(*wanted))
    assert "could not be built" in message
    mission.environ["LOUD"] = "no"
    built = await mission.build(spec(*wanted))
    assert list(Path(built.folder).glob("lib/python*/site-packages/alpha"))
    lock = mission.lock().read_text()
    assert "${MY_TOKEN}" in lock
    told = [
        lock,
        message,
        mission.log.read_text(),
        str(mission.progress),
        Path(built.folder + ".json").read_text(),
    ]
    assert not [text for text in told if SECRET in text]
    assert "MY_TOKEN" in mission.log.read_text()  # The build did print it.


@pytest.mark.parametrize(
    "dependency",
    [
        "alpha @ https://user:hunter2-secret@example.org/alpha.whl",
        "alpha @ https://hunter2-secret@example.org/alpha.whl",
        "alpha @ git+https://hunter2-secret@example.org/alpha.git",
    ],
)
async def test_a_password_in_razar_env_yaml_is_refused(mission: Mission, dependency: str) -> None:
    message = await mission.fail(spec(dependency))
    assert "${NAME}" in message and "****@example.org" in message
    assert SECRET not in message + mission.log.read_text()
    assert not mission.lock().exists()


async def test_settings_that_would_mislead_uv_are_not_passed_on(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    mission.environ |= {
        "VIRTUAL_ENV": "/nonexistent", "PYTHONPATH": "/nonexistent", "PYTHONHOME": "/nonexistent",
        "UV_PYTHON": "3.99", "UV_SYSTEM_PYTHON": "1", "UV_NO_VERIFY_HASHES": "1", "UV_REQUIRE_HASHES": "1",
        "UV_LINK_MODE": "symlink", "UV_VENV_SEED": "1", "FORCE_COLOR": "1", "RUST_LOG": "trace",
        "UV_PROJECT_ENVIRONMENT": "/nonexistent", "UV_PYTHON_DOWNLOADS": "automatic",
    }  # fmt: skip
    built = await mission.build(spec("alpha"))
    [site] = Path(built.folder).glob("lib/python*/site-packages")
    assert not (site / "pip").exists() and not (site / "alpha").is_symlink()
    assert "\x1b" not in mission.log.read_text()
    assert uv_environ({"UV_INDEX": "x", "UV_PYTHON": "y"})["UV_INDEX"] == "x"


async def test_a_missing_uv_is_named_with_how_to_get_it(
    mission: Mission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    message = await mission.fail(spec())
    assert "uv, which builds the environments, is not installed" in message and "-m pip install uv" in message


async def test_a_log_that_cannot_be_written_is_a_warning(mission: Mission) -> None:
    (mission.root / "logs").write_text("a file where the folder should be")
    built = await mission.build(spec())
    [warning] = built.warnings
    assert str(mission.log) in warning and "cannot be written" in warning


async def test_a_file_in_the_place_of_the_folder_is_told(mission: Mission) -> None:
    (mission.root / ".razar").write_text("")
    message = await mission.fail(spec())
    assert str(mission.root / ".razar") in message and "a file stands where a folder is needed" in message
    (mission.root / ".razar").unlink()
    mission.lock().parent.write_text("")
    assert "razar_env.lock" in await mission.fail(spec())


@pytest.mark.parametrize("layer", ["../outside", "a/b", ".hidden", "x" * 64, "", "nul\0"])
async def test_a_layer_name_cannot_lead_elsewhere(mission: Mission, layer: str) -> None:
    assert "is not a layer name" in await mission.fail(spec(layer=layer))
    assert not (mission.root / ".razar").exists()


def without_override(program: str, mission: Mission) -> str:
    """Run a program for which file permissions count, even if the tests run as root."""
    drop = (
        "import ctypes, os, sys\nfor capability in (1, 2):\n"  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        "    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)\n"  # PR_CAPBSET_DROP
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    command = (sys.executable, "-c", drop, sys.executable, "-c", program)
    return output(*command, environ={**mission.environ, "PYTHONPATH": os.getcwd()})


async def test_folders_without_the_right_to_write(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    built = await mission.build(spec("alpha"))
    prepare = (
        "import asyncio, os\nfrom razar.config.model import EnvironmentSpec as S\n"
        "from razar.environment_builder import prepare\n"
        "specs = [S(layer='web', python='>=3.11', dependencies=('alpha',)),"
        " S(layer='new', python='>=3.11')]\n"
        f"root, log = {str(mission.root)!r}, {str(mission.log)!r}\n"
        "for one in asyncio.run(prepare(specs, root=root, log=log, environ=os.environ)):\n"
        "    print(getattr(one, 'message', None) or one.outcome)\n"
    )
    (Path(built.folder) / "pyvenv.cfg").touch()  # Found the same, though that cannot be remembered.
    folders = [mission.layer(), mission.layer().parent]
    try:
        for folder in folders:
            folder.chmod(0o555)
        unchanged, failed = without_override(prepare, mission).splitlines()
        assert unchanged == "unchanged"
        assert failed.startswith("layer new: its environment cannot be written: Permission denied")
        folders[0].chmod(0o000)
        unreadable, _ = without_override(prepare, mission).splitlines()
        assert unreadable.startswith("layer web: ") and "Permission denied" in unreadable
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (await mission.build(spec("alpha"))).folder == built.folder
