"""What a test of a patch can reach and use up: as little as this machine allows, and what that is."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from agents.razar.patching import layout, sandbox
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.sandbox import MODES, CommandLimits, CommandRun, Mode, Sandbox, available
from agents.razar.patching.watch import Opened
from razar.launchers import procfs
from tests.support.waiting import until

STRONG: tuple[Mode, ...] = ("bubblewrap", "namespaces")


class Box:
    def __init__(self, folder: Path, mode: Mode, **limits: float) -> None:
        self.root = folder / "root"
        self.work = folder / "work"
        self.scratch = self.work / "tree"
        self.root.mkdir()
        self.scratch.mkdir(parents=True)
        (self.root / "app.py").write_text("STATE = 'real'\n")
        (self.root / ".env").write_text("TOKEN=value-of-env-file\n")
        (self.scratch / "app.py").write_text("STATE = 'patched'\n")
        self.sandbox = Sandbox(
            root=str(self.root),
            scratch=str(self.scratch),
            work=str(self.work),
            mode=mode,
            limits=CommandLimits(**limits),  # type: ignore[arg-type]
            watched=["app.py"],
        )

    async def python(self, program: str) -> CommandRun:
        return await self.sandbox.run((sys.executable, "-c", program))


@pytest.fixture(params=["bubblewrap", "namespaces", "landlock", "limits"])
async def mode(request: pytest.FixtureRequest) -> Mode:
    wanted: Mode = request.param
    return await need(wanted)


@pytest.fixture(params=STRONG)
async def strong(request: pytest.FixtureRequest) -> Mode:
    wanted: Mode = request.param
    return await need(wanted)


async def need(wanted: Mode) -> Mode:
    try:
        await available((wanted,))
    except Refusal:
        pytest.skip(f"{wanted} does not work on this machine")
    return wanted


async def test_the_patched_file_is_what_runs_and_that_is_noticed(tmp_path: Path, mode: Mode) -> None:
    box = Box(tmp_path, mode)
    run = await box.python("import app; print(app.STATE)")
    assert run.passed and run.output == "patched\n"
    assert run.opened == ("app.py",)
    assert (await box.python("print('idle')")).opened == ()
    assert box.sandbox.protection["mode"] == mode


async def test_exit_codes_signals_and_missing_programs(tmp_path: Path, mode: Mode) -> None:
    box = Box(tmp_path, mode)
    assert (await box.python("raise SystemExit(7)")).exit == 7
    assert (await box.python("import os; os.kill(os.getpid(), 9)")).exit == 128 + signal.SIGKILL
    assert (await box.sandbox.run(("no-such-program",))).exit == 127


async def test_the_environment_is_ours_alone(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMI2_API_KEY", "value-of-a-key")
    monkeypatch.setenv("LD_PRELOAD", "")
    run = await Box(tmp_path, mode).python("import os; print(*os.environ.items(), sep='\\n')")
    assert run.passed and "KIMI2" not in run.output and "LD_PRELOAD" not in run.output
    assert "PATH" in run.output


async def test_a_timed_out_command_is_killed_with_everything_it_started(tmp_path: Path, mode: Mode) -> None:
    box = Box(tmp_path, mode, seconds=1.0)
    mark = f"razar-left-{os.getpid()}-{mode}"
    child = f"import time; time.sleep(600) # {mark}"
    run = await box.python(
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True, env={{}})\n"
        "time.sleep(600)"
    )
    assert run.exit is None and not run.passed
    await until(lambda: not commands_with(mark))


async def test_nothing_is_left_when_a_command_ends_by_itself(tmp_path: Path, mode: Mode) -> None:
    mark = f"razar-stray-{os.getpid()}-{mode}"
    child = f"import time; time.sleep(600) # {mark}"
    run = await Box(tmp_path, mode).python(
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    )
    assert run.passed
    await until(lambda: not commands_with(mark))


def commands_with(mark: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if mark in Path(f"/proc/{name}/cmdline").read_text() and procfs.stat(int(name)):
                    found.append(int(name))
            except OSError:
                pass
    return found


async def test_limits_of_memory_files_and_file_size(tmp_path: Path) -> None:
    box = Box(tmp_path, await available(), memory=256 << 20, files=64, file_size=1 << 20, cpu=1, seconds=30)
    run = await box.python("x = bytearray(512 << 20)")
    assert run.exit == 1 and "MemoryError" in run.output
    run = await box.python("import os; x = [os.dup(0) for _ in range(100)]")
    assert run.exit == 1 and "Too many open files" in run.output
    run = await box.python("open('big', 'wb').write(bytes(2 << 20))")
    assert run.exit == 1 and "File too large" in run.output
    assert (await box.python("while True: pass")).exit in (128 + signal.SIGXCPU, 128 + signal.SIGKILL)


async def test_the_real_tree_and_other_secrets_cannot_be_reached(tmp_path: Path, strong: Mode) -> None:
    box = Box(tmp_path, strong)
    (tmp_path / "secret").write_text("a secret beside the mission\n")
    run = await box.sandbox.run(
        (
            "sh",
            "-c",
            f"cat {box.root}/.env {tmp_path}/secret ~/.ssh/* /etc/shadow; ls -A {box.root} /home /root /var",
        )
    )
    assert "value-of-env-file" not in run.output and "a secret" not in run.output
    assert "\nroot:" not in "\n" + run.output
    assert "app.py" in run.output
    run = await box.python(f"print(open('{box.root}/app.py').read())")
    assert "patched" in run.output


async def test_landlock_hides_the_real_tree_too(tmp_path: Path) -> None:
    box = Box(tmp_path, await need("landlock"))
    run = await box.sandbox.run(
        ("sh", "-c", f"cat {box.root}/.env; echo x >{box.root}/app.py; cat /etc/shadow")
    )
    assert "value-of-env-file" not in run.output and "\nroot:" not in "\n" + run.output
    assert (box.root / "app.py").read_text() == "STATE = 'real'\n"
    run = await box.python("import socket; socket.create_server(('127.0.0.1', 0))")
    assert run.exit == 1 and "PermissionError" in run.output


async def test_nothing_outside_can_be_written(tmp_path: Path, strong: Mode) -> None:
    box = Box(tmp_path, strong)
    names = ("etc", "usr", "var", "proc/sys/kernel", "sys")
    places = [
        str(tmp_path / "razar-left"),
        *(f"/{name}/razar-left" for name in names),
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/hostname",
    ]
    run = await box.sandbox.run(
        ("sh", "-c", "; ".join(f"(: >> {place}) && echo wrote {place}" for place in places))
    )
    assert "wrote" not in run.output.replace(f"wrote {tmp_path}/razar-left", "")
    assert not any(os.path.exists(f"{place}") for place in places if place.endswith("/razar-left"))
    assert (
        await box.sandbox.run(
            ("sh", "-c", f"echo x > {box.root}/razar-left && mv {box.root}/razar-left app.py")
        )
    ).passed
    assert (box.root / "app.py").read_text() == "STATE = 'real'\n" and not (box.root / "razar-left").exists()


async def test_there_is_no_network_but_its_own_loopback(tmp_path: Path, strong: Mode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        run = await Box(tmp_path, strong).python(
            "import socket\n"
            "own = socket.create_server(('127.0.0.1', 0))\n"
            "socket.create_connection(own.getsockname())\n"
            f"for address in (('127.0.0.1', {port}), ('192.0.2.1', 80)):\n"
            "    try: socket.create_connection(address, 2)\n"
            "    except OSError as error: print(type(error).__name__)\n"
            "    else: raise SystemExit('connected')\n"
        )
    assert run.passed, run.output
    assert run.output.startswith("ConnectionRefusedError\n")


async def test_processes_outside_can_neither_be_seen_nor_signalled(tmp_path: Path, strong: Mode) -> None:
    run = await Box(tmp_path, strong).python(
        "import os\n"
        "print(len([n for n in os.listdir('/proc') if n.isdigit()]))\n"
        f"try: os.kill({os.getpid()}, 0)\n"
        "except ProcessLookupError: print('gone')\n"
    )
    assert run.passed and int(run.output.split()[0]) < 10 and "gone" in run.output


async def test_protection_cannot_be_taken_off_from_inside(tmp_path: Path, strong: Mode) -> None:
    box = Box(tmp_path, strong)
    run = await box.python(
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print('umount', libc.umount2(b'/tmp', 2), libc.umount2(os.getcwd().encode(), 2))\n"
        "print('remount', libc.mount(None, b'/', None, 32 | 4096, None))\n"
        "print('chroot', libc.chroot(b'/'))\n"
        "print([line for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))])\n"
    )
    assert "umount -1 -1" in run.output and "remount -1" in run.output and "chroot -1" in run.output
    assert "CapEff:\\t0000000000000000" in run.output and "CapBnd:\\t0000000000000000" in run.output
    assert "NoNewPrivs:\\t1" in run.output


async def test_a_fork_bomb_is_contained(tmp_path: Path) -> None:
    box = Box(tmp_path, await need("namespaces"), processes=64, seconds=20)
    run = await box.python(
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 3000:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600); os._exit(0)\n"
        "        made += 1\n"
        "except OSError as error:\n"
        "    print('stopped at', made); raise SystemExit(3)\n"
    )
    if run.exit == 0 and os.getuid() == 0:
        pytest.skip("this kernel bounds the processes of root neither by rlimit nor by namespace")
    assert run.exit == 3 and int(run.output.split()[-1]) < 400


async def test_the_strongest_mode_there_is_is_used(tmp_path: Path) -> None:
    mode = await available()
    for stronger in MODES[: MODES.index(mode)]:
        with pytest.raises(Refusal):
            await available((stronger,))


def test_masks_do_not_hide_the_interpreter(tmp_path: Path) -> None:
    hidden = layout.masked(str(tmp_path))
    assert "/root" in hidden or "/home" in hidden
    for path in layout.shown(str(tmp_path), [(sys.executable,)], hidden):
        assert path not in hidden and not any(other.startswith(path + "/") for other in hidden)


def test_opening_is_noticed_and_looking_is_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    watch = Opened(str(tmp_path), ["a", "b"])
    os.stat(tmp_path / "a")
    assert watch.seen() == frozenset()
    (tmp_path / "b").read_text()
    assert watch.seen() == {"b"}
    watch.close()


async def test_a_command_that_fills_the_disk_is_killed(tmp_path: Path, mode: Mode) -> None:
    box = Box(tmp_path, mode, written=64 << 20, file_size=8 << 20)
    program = "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(b'x' * (4 << 20))\n    n += 1\n"
    with pytest.raises(Refusal, match="wrote more than 64 MiB"):
        await box.python(program)


async def test_what_others_write_to_the_disk_is_not_held_against_a_command(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, mode, written=16 << 20)
    real, suspected = sandbox.taken, 0

    def counted(folder: str) -> int:
        nonlocal suspected
        suspected += folder == str(box.scratch)
        return real(folder)

    monkeypatch.setattr(sandbox, "taken", counted)
    program = "import os\nwhile not os.path.exists('go'): pass"
    running = asyncio.ensure_future(box.python(program))
    with (tmp_path / "download").open("wb") as download:
        while suspected < 2 and not running.done():
            download.write(b"x" * (4 << 20))
            download.flush()
            await asyncio.sleep(0)
    assert suspected == 2
    (box.scratch / "go").touch()
    assert (await running).passed


async def test_a_disk_that_others_fill_says_nothing_about_a_patch(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, mode, written=1 << 20)
    room = iter([1 << 30])
    monkeypatch.setattr(sandbox, "free", lambda _: next(room, 1000))
    with pytest.raises(Refusal, match="less than 1 MiB were left on the disk") as refused:
        await box.python("while True: pass")
    assert refused.value.passing
