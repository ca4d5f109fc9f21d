"""Hostile and broken proposals: nothing outside repair.paths changes, nothing runs, the reason is said."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
import pytest

from agents.razar.patching.policy import PatchPolicy
from tests.repair.support import APP, Mission, content, edit

SAFE = "VALUE = 1\n"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("~/.bashrc", "absolute"),
        ("src/../../outside.py", "no name"),
        ("../outside.py", "no name"),
        ("src/./app.py", "no name"),
        ("src//app.py", "no name"),
        ("src/", "no name"),
        ("", "0 characters"),
        ("src\\app.py", "backslash"),
        ("C:\\app.py", "backslash"),
        ("src/c:app.py", "colon"),
        ("src/app.py\n", "cannot be seen"),
        ("src/a\0.py", "cannot be seen"),
        ("src/\u202eyp.ppa", "cannot be seen"),
        ("src/a\u200bpp.py", "cannot be seen"),
        ("src/app.py ", "space"),
        ("src/app.py.", "dot"),
        (".git/hooks/post-checkout", "hidden"),
        (".git/config", "hidden"),
        ("src/.git/config", "hidden"),
        (".env", "hidden"),
        ("src/.env.local", "hidden"),
        (".github/workflows/ci.yml", "hidden"),
        ("src/cafe\u0301.py", "normal form"),
        ("src/ａpp.py", "normal form"),
        ("src/аpp.py", "plain ASCII"),
        ("src/" + "x" * 300, "255 bytes"),
        ("src/" + "x/" * 600 + "y", "1024"),
        ("src/nowhere/app.py", "makes no folders"),
        ("src/APP.py", "upper and lower case"),
        ("SRC/app.py", "not covered"),
        ("checks/try_app.py", "not covered"),
        ("boot_config.json", "not covered"),
    ],
)
async def test_paths_that_are_not_plainly_a_file_of_the_component(
    tmp_path: Path, path: str, reason: str
) -> None:
    assert reason in await Mission(tmp_path).refused(content(path, SAFE))


@pytest.mark.parametrize(
    "path",
    "tests/helper.py src/test_app.py src/app_test.py src/app.test.js src/conftest.py src/tests/x.py "
    "src/health.py src/health_check.py src/crown_health.py src/probe.py src/healthz/x.py "
    "requirements.txt requirements-dev.in pyproject.toml setup.py uv.lock poetry.lock package.json Cargo.toml "
    "razar_env.yaml razar_env.lock/crown.txt boot_config.json missions/demo.json Makefile Dockerfile "
    "src/sitecustomize.py src/evil.pth src/x.so src/app.pyc src/json.py src/pytest.py repo.git/config "
    "githooks/pre-commit node_modules/x/index.js".split(),
)
async def test_files_that_judge_build_or_start_the_component(tmp_path: Path, path: str) -> None:
    mission = Mission(tmp_path)
    (mission.root / path).parent.mkdir(parents=True, exist_ok=True)
    everything = msgspec.structs.replace(mission.scope, paths=("**",))
    reason = await mission.refused(content(path, SAFE), scope=everything)
    assert any(
        text in reason
        for text in ("judges", "agents may not", "is run before", "hide a module", "take the place")
    )


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "cd . && python src/verify.py && true"),
        ("python", "src/verify.py"),
        ("python", "-X", "dev", "./src/verify.py", "--fast"),
        ("python3.11", "-m", "src.verify"),
        ("src/verify.py", "--quick"),
        ("python", "-m", "pytest", "-q", "src/verify.py::test_it"),
        ("pytest", "src/verify.py"),
        ("python", "-c", "import runpy; runpy.run_path('src/verify.py')"),
    ],
)
async def test_files_that_tests_and_probes_run(tmp_path: Path, command: tuple[str, ...]) -> None:
    mission = Mission(tmp_path)
    (mission.root / "src" / "verify.py").write_text(SAFE)
    change = edit("src/verify.py", "1", "2")
    scope = msgspec.structs.replace(mission.scope, tests=(command,))
    assert "named by a test or probe" in await mission.refused(change, scope=scope)
    assert "named by a test or probe" in await mission.refused(
        change, policy=PatchPolicy(commands=(command,))
    )


async def test_protected_files(tmp_path: Path) -> None:
    assert "protected" in await Mission(tmp_path).refused(edit(), policy=PatchPolicy(protected=("src/a*",)))


async def test_a_file_that_a_test_merely_compiles_may_be_changed(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    compiling = ("python", "-m", "py_compile", "src/app.py")
    scope = msgspec.structs.replace(mission.scope, tests=(compiling,))
    outcome = await mission.repair(edit(), scope=scope)
    assert outcome, outcome.reason


async def test_the_component_s_own_health_handler(tmp_path: Path) -> None:
    source = (
        "def healthz():\n    return broken()\n\n\n@route('/live')\ndef answer():\n    return False\n\n\n"
        "class Handler:\n    def do_GET(self):\n        if self.path == '/ready':\n            return self.state()\n"
        "        return self.page()\n"
    )
    mission = Mission(tmp_path, app=source, test=None)
    policy = PatchPolicy(health_paths=("/ready", "/live"))
    for old, new in (
        ("return broken()", "return 'ok'"),
        ("return False", "return True"),
        ("return self.state()", "return 200"),
        ("if self.path == '/ready'", "if self.path != '/ready'"),
        ("class Handler:", "def health():\n    return 'ok'\n\n\nclass Handler:"),
    ):
        assert "answers the component's probe" in await mission.refused(edit(old=old, new=new), policy=policy)
    assert await mission.repair(edit(old="return self.page()", new="return self.pages()"), policy=policy)


async def test_a_health_line_in_another_language(tmp_path: Path) -> None:
    mission = Mission(tmp_path, test=None)
    (mission.root / "src" / "app.js").write_text("get('/healthz', check)\nget('/', pgae)\n")
    policy = PatchPolicy(health_paths=("/healthz",))
    change = edit("src/app.js", "get('/healthz', check)", "get('/healthz', () => 'ok')")
    assert "answers the component's probe" in await mission.refused(change, policy=policy)
    assert "own probe" in await mission.refused(content("src/b.js", "get('/healthz', ok)\n"), policy=policy)
    assert await mission.repair(edit("src/app.js", "pgae", "page"), policy=policy)


@pytest.mark.parametrize("kind", ["file", "folder", "dangling", "outside"])
async def test_symbolic_links_on_the_way_and_at_the_end(tmp_path: Path, kind: str) -> None:
    mission = Mission(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.py").write_text(APP)
    link = mission.root / "src" / ("inner" if kind in ("folder", "outside") else "link.py")
    targets = {
        "file": mission.app,
        "folder": mission.root / "checks",
        "dangling": tmp_path / "none",
        "outside": outside,
    }
    link.symlink_to(targets[kind])
    path = "src/inner/app.py" if kind in ("folder", "outside") else "src/link.py"
    assert "symbolic link" in await mission.refused(edit(path))
    assert "symbolic link" in await mission.refused(content(path, SAFE))
    assert (outside / "app.py").read_text() == APP


async def test_hard_links_devices_pipes_and_setuid_files(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    source = mission.root / "src"
    other = tmp_path / "other.py"
    other.write_text(APP)
    os.link(other, source / "shared.py")
    assert "hard links" in await mission.refused(edit("src/shared.py"))
    assert other.read_text() == APP
    os.mkfifo(source / "pipe.py")
    assert "no regular file" in await mission.refused(edit("src/pipe.py"))
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(source, os.O_PATH)
        server.bind(f"/proc/self/fd/{here}/socket.py")
        os.close(here)
    assert "no regular file" in await mission.refused(edit("src/socket.py"))
    (source / "folder.py").mkdir()
    assert "no regular file" in await mission.refused(edit("src/folder.py"))
    mission.app.chmod(0o4755)
    assert "setuid" in await mission.refused(edit())


async def test_binary_files_and_binary_text(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    (mission.root / "src" / "data.bin").write_bytes(b"\x7fELF\0\1\2")
    (mission.root / "src" / "latin.py").write_bytes(b"# caf\xe9\nx = 1\n")
    assert "binary" in await mission.refused(edit("src/data.bin", "ELF", "elf"))
    assert "not in UTF-8" in await mission.refused(edit("src/latin.py", "x = 1", "x = 2"))
    assert "U+0000" in await mission.refused(content("src/new.txt", "a\0b"))
    assert "U+001B" in await mission.refused(content("src/new.txt", "a\x1b[31mb"))
    assert "U+202E" in await mission.refused(edit(new="    return a + b  # \u202e\n"))
    assert "surrogates" in await mission.refused(content("src/new.txt", "a\udcffb"))


async def test_too_many_and_too_much(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    assert "limit is 2097152" in await mission.refused(content("src/big.py", "x" * (50 << 20)))
    many = [content(f"src/f{number}.py", SAFE) for number in range(10_000)]
    assert "10000 edits" in await mission.refused(*many)
    assert "11 files" in await mission.refused(*many[:11])
    long = "".join(f"v{number} = {number}\n" for number in range(500))
    assert "500 lines are added and removed" in await mission.refused(content("src/long.py", long))
    (mission.root / "src" / "huge.py").write_text("# x\n" * 400_000)
    assert "limit for a file" in await mission.refused(edit("src/huge.py", "# x", "# y"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    print(add(1, 2))\n", "    pass\n"),
        ("    print(add(1, 2))\n", "    # gone\n    pass\n"),
        ("    return a - b\n", "\n"),
    ],
)
async def test_patches_that_only_delete(tmp_path: Path, old: str, new: str) -> None:
    mission = Mission(tmp_path, app=APP.replace("    return a - b\n", "    a = a\n    return a - b\n"))
    assert "only deletes" in await mission.refused(edit(old=old, new=new))


async def test_a_file_that_is_emptied(tmp_path: Path) -> None:
    reason = await Mission(tmp_path).refused(content("src/app.py", ""))
    assert "takes add, main out of" in reason


async def test_patches_that_take_functions_away_or_change_nothing(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    assert "takes main out" in await mission.refused(edit(old="def main():", new="def start():"))
    assert "changes nothing" in await mission.refused(edit(old="\n\n\ndef", new="\n\ndef"))
    assert "changes nothing" in await mission.refused(content("src/app.py", APP))
    assert "no edit" in await mission.refused()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/new.py", "def broken(:\n"),
        ("src/new.py", "(" * 5000 + ")" * 5000),
        ("src/new.json", "{'a': 1}"),
        ("src/new.json", "[" * 100_000),
        ("src/new.yaml", "a: [1\n"),
        ("src/new.toml", "a = \n"),
        ("src/new.py", "<html><body>502 Bad Gateway</body></html>\n"),
        ("src/new.py", "Sure! Here is the fixed file:\n"),
    ],
)
async def test_files_that_would_not_parse(tmp_path: Path, path: str, text: str) -> None:
    assert "would not parse" in await Mission(tmp_path).refused(content(path, text))


async def test_a_yaml_bomb_is_not_multiplied_out(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    mission = Mission(tmp_path, test=None)
    assert await mission.repair(content("src/bomb.yaml", "\n".join(lines) + "\n"))


async def test_two_files_that_differ_in_case_alone(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    assert "case alone" in await mission.refused(content("src/new.py", SAFE), content("src/NEW.py", SAFE))


async def test_a_repository_s_own_folder(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    for name in ("objects", "refs", "hooks"):
        (mission.root / "src" / "bare" / name).mkdir(parents=True)
    (mission.root / "src" / "bare" / "HEAD").write_text("ref: refs/heads/main\n")
    assert "repository" in await mission.refused(content("src/bare/hooks/update", "exit 0\n"))


async def test_the_logs_are_not_source(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    scope = msgspec.structs.replace(mission.scope, paths=("**",))
    assert "folder of the logs" in await mission.refused(content("logs/x.py", SAFE), scope=scope)


async def test_new_files_are_never_executable(tmp_path: Path) -> None:
    mission = Mission(tmp_path, test=None)
    assert await mission.repair(content("src/new.sh", "echo hello\n"))
    assert (mission.root / "src" / "new.sh").stat().st_mode & 0o7777 == 0o644


async def test_code_that_is_nested_too_deeply_to_be_compared(tmp_path: Path) -> None:
    deep = " + ".join(["1"] * 1500)
    mission = Mission(tmp_path, app=f"def health():\n    return {deep}\n\n\nx = 1\n", test=None)
    reason = await mission.refused(edit(old="x = 1", new="x = 2"))
    assert "nested too deeply" in reason
