"""Lock files: when they are made, kept, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from razar.environments.lock import entries, lower_bound
from razar.environments.model import LayerError
from tests.environments.conftest import Mission, spec
from tests.environments.packages import make_project, make_wheel


async def test_a_fresh_lock_is_installed_as_it_is(mission: Mission) -> None:
    """The lock decides, not what is newest: a colleague's clone gets the same versions."""
    make_wheel(mission.wheels, "alpha", "1.0")
    await mission.build(spec("alpha"))
    lock = mission.lock().read_text()
    make_wheel(mission.wheels, "alpha", "2.0")
    elsewhere = Mission(mission.root.parent / "clone", mission.index, mission.environ)
    elsewhere.root.mkdir()
    elsewhere.lock().parent.mkdir()
    elsewhere.lock().write_text(lock)

    built = await elsewhere.build(spec("alpha"), locked=True)

    assert elsewhere.lock().read_text() == lock
    assert list(Path(built.folder).glob("lib/python*/site-packages/alpha-1.0.dist-info"))


async def test_a_lock_brought_by_version_control_is_taken_over(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha", "1.0")
    await mission.build(spec("alpha"))
    old = mission.lock().read_text()
    mission.lock().unlink()
    make_wheel(mission.wheels, "alpha", "2.0")
    second = await mission.build(spec("alpha"))  # Deleted: resolved anew.
    assert list(Path(second.folder).glob("lib/python*/site-packages/alpha-2.0.dist-info"))
    mission.lock().write_text(old)
    third = await mission.build(spec("alpha"), locked=True)
    assert list(Path(third.folder).glob("lib/python*/site-packages/alpha-1.0.dist-info"))


async def test_locked_refuses_a_lock_that_is_missing_or_stale(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")
    message = await mission.fail(spec("alpha"), locked=True)
    assert "--locked" in message and "razar_env.lock/web.txt" in message and "there is none" in message

    built = await mission.build(spec("alpha"))
    lock = mission.lock().read_text()
    mission.index.requests.clear()
    for stale in (spec("alpha", "beta"), spec("alpha", python="3.11")):
        message = await mission.fail(stale, locked=True)
        assert "what it was made from has changed since" in message
    assert mission.lock().read_text() == lock
    assert mission.index.requests == []
    assert (await mission.build(spec("alpha"), locked=True)).folder == built.folder


async def test_order_and_spelling_of_the_entry_do_not_make_the_lock_stale(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    make_wheel(mission.wheels, "beta")
    first = await mission.build(spec("alpha", "beta"))
    again = await mission.build(spec("beta", " alpha "), locked=True)
    assert again.folder == first.folder and again.outcome == "unchanged"


async def test_a_lock_with_a_merge_conflict_is_told(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    await mission.build(spec("alpha"))
    good = mission.lock().read_text()
    mission.lock().write_text(good + "<<<<<<< HEAD\nbeta==1\n=======\n")
    message = await mission.fail(spec("alpha"))
    assert "the lock file holds an entry without a hash" in message and "delete the file" in message
    mission.lock().write_text("<<<<<<< HEAD\n" + good.replace("inputs", "outputs"))
    await mission.build(spec("alpha"))
    assert mission.lock().read_text() == good


async def test_what_is_downloaded_must_be_what_was_locked(mission: Mission) -> None:
    make_wheel(mission.wheels, "alpha")
    await mission.build(spec("alpha"))
    text = mission.lock().read_text()
    line = next(line for line in text.splitlines() if "--hash" in line)
    mission.lock().write_text(text.replace(line, "    --hash=sha256:" + "0" * 64))
    message = await mission.fail(spec("alpha"))
    assert "alpha==1.0" in message and "is not what the lock file was made from" in message


async def test_a_local_package_is_installed_from_where_it_lies(mission: Mission) -> None:
    make_wheel(mission.wheels, "beta")
    project = make_project(
        mission.root / "my packages", "mine", source="VALUE = 'first'\n", requires=["beta"]
    )
    wanted = spec("./my packages/mine")
    first = await mission.build(wanted)
    [file] = Path(first.folder).glob("lib/python*/site-packages/mine.py")
    assert file.read_text() == "VALUE = 'first'\n"
    assert list(Path(first.folder).glob("lib/python*/site-packages/beta"))

    (project / "mine.py").touch()
    for name in (
        ".git/index",
        "build/lib/mine.py",
        "mine.egg-info/PKG-INFO",
        "__pycache__/mine.pyc",
        "logs/x",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("made by a tool")
    assert (await mission.build(wanted)).outcome == "unchanged"

    # Its code is no part of the lock, so a change of it is fine with --locked.
    (project / "mine.py").write_text("VALUE = 'other'\n")
    second = await mission.build(wanted, locked=True)
    [file] = Path(second.folder).glob("lib/python*/site-packages/mine.py")
    assert file.read_text() == "VALUE = 'other'\n" and second.outcome == "built" and second.warnings == ()
    assert (await mission.build(wanted)).outcome == "unchanged"

    # Its own dependencies are.
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("['beta']", "[]"))
    assert "has changed since" in await mission.fail(wanted, locked=True)
    third = await mission.build(wanted)
    assert not list(Path(third.folder).glob("lib/python*/site-packages/beta"))


async def test_a_local_wheel_is_installed(mission: Mission) -> None:
    make_wheel(mission.root, "mine", requires=["beta"])
    make_wheel(mission.wheels, "beta")
    built = await mission.build(spec("./mine-1.0-py3-none-any.whl"))
    assert list(Path(built.folder).glob("lib/python*/site-packages/mine"))
    assert (await mission.build(spec("./mine-1.0-py3-none-any.whl"), locked=True)).outcome == "unchanged"
    make_wheel(mission.root, "mine", source="VALUE = 2\n")
    again = await mission.build(spec("./mine-1.0-py3-none-any.whl"))
    [file] = Path(again.folder).glob("lib/python*/site-packages/mine/__init__.py")
    assert file.read_text() == "VALUE = 2\n"


async def test_the_lock_is_the_same_wherever_the_mission_lies(mission: Mission) -> None:
    make_wheel(mission.wheels, "beta")
    make_project(mission.root / "packages", "mine", requires=["beta"])
    await mission.build(spec(str(mission.root / "packages" / "mine")))
    elsewhere = Mission(mission.root.parent / "clone", mission.index, mission.environ)
    make_project(elsewhere.root / "packages", "mine", requires=["beta"])
    await elsewhere.build(spec("mine @ ./packages/mine"))
    again = spec("./packages/mine")
    assert (await mission.build(again, locked=True)).outcome == "unchanged"
    elsewhere.lock().write_text(mission.lock().read_text())
    await elsewhere.build(again, locked=True)


@pytest.mark.parametrize(
    ("python", "bound"),
    [("3.11", "3.11"), (">=3.11", "3.11"), (">=3.11,<3.14", "3.11"), ("~=3.12", "3.12"), ("==3.11.*", "3.11"),
     (">= 3.11.4, != 3.12.1", "3.11.4"), ("<3.14", None)],
)  # fmt: skip
def test_the_oldest_version_a_layer_allows(python: str, bound: str | None) -> None:
    assert lower_bound(python) == bound


def test_a_lock_entry_must_be_vouched_for() -> None:
    text = (
        "# inputs sha256:00\n--index-url https://example.org/simple\n"
        "alpha==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "    # via beta\n"
        f"beta @ git+https://example.org/beta.git@{'a' * 40}\n    # via razar_env.yaml\n"
    )
    found = entries(text)
    assert found.hashed == (
        "alpha==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb",
    )
    assert found.pinned == (f"beta @ git+https://example.org/beta.git@{'a' * 40}",)
    for bad in (
        "gamma==1.0\n",
        "gamma @ git+https://example.org/x.git@main\n",
        "gamma @ https://example.org/g.whl\n",
    ):
        with pytest.raises(LayerError, match="without a hash"):
            entries(bad)
