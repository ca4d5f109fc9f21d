"""Who is heard on the control socket, and that nobody can hold the mission up there."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import warnings
from pathlib import Path

import pytest

from razar.boot.mission_lock import MissionLock
from razar.control import server as control
from razar.control.address import REQUEST_LIMIT, SOCKET_NAME
from razar.control.client import NotRunningError, RefusedError, UnresponsiveError, connect
from razar.control.server import ControlError
from tests.commands.support import ask, component, house
from tests.support.descriptors import none_left_open
from tests.support.waiting import until

NOBODY = 65534


def stranger(path: str) -> bytes:
    """Ask for a stop in a child, which is another user if we may choose; return the answer."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The child only makes system calls.
        pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresuid(NOBODY, NOBODY, NOBODY)
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            try:
                sock.sendall(b'{"request": "stop"}\n')
            except BrokenPipeError:
                pass
            os.write(writer, sock.recv(65536))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return answer


async def test_only_the_user_may_open_the_socket(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with house(tmp_path, component("a")):
            mode = os.stat(tmp_path / SOCKET_NAME).st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(mode) == 0o600


async def test_another_user_is_not_heard_even_where_the_file_lets_him_in(tmp_path: Path) -> None:
    """Root cannot be refused, so root plays the owner and nobody the stranger; else we are the stranger."""
    root = os.geteuid() == 0
    for folder in (tmp_path, *tmp_path.parents):
        if root and folder != Path("/tmp") and folder != Path("/"):
            folder.chmod(0o755)
    async with house(tmp_path, component("a"), owner=None if root else os.geteuid() + 1) as mission:
        os.chmod(tmp_path / SOCKET_NAME, 0o666)
        answer = json.loads(await asyncio.to_thread(stranger, str(tmp_path / SOCKET_NAME)))
        assert mission.state("a") == "running"
    assert answer["code"] == "forbidden"


@pytest.mark.parametrize(
    "request_",
    [
        b"\n",
        b"hello\n",
        b"[]\n",
        b'"stop"\n',
        b'{"request": "explode"}\n',
        b'{"request": "stop", "components": []}\n',
        b'{"request": "stop", "components": "a"}\n',
        b'{"request": "stop", "components": ["a"], "hurry": true}\n',
        b'{"request": "stop", "timeout": -1}\n',
        b'{"request": "stop", "when": "now"}\n',
        b'{"request": "restart"}\n',
        b'{"request": "release"}\n',
        b'{"request": "stop"\xff}\n',
        b"[" * 100_000 + b"\n",
        b'{"request": "stop", "note": "' + b"x" * REQUEST_LIMIT + b'"}\n',
    ],
)
async def test_what_is_no_request_is_refused_and_nothing_is_done(tmp_path: Path, request_: bytes) -> None:
    async with house(tmp_path, component("a")) as mission:
        answer = (await ask(tmp_path, request_))[-1]
        assert mission.state("a") == "running"
    assert answer["ok"] is False
    assert answer["code"] == "bad_request"


async def test_a_request_without_a_line_end_is_taken_when_the_client_has_finished(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b'{"request": "ping"}')
        writer.write_eof()
        assert json.loads(await reader.readline())["ok"] is True
        writer.close()


async def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b'{"request": "ping"}\n{"request": "nonsense"}\n{"request": "ping"}\n')
        assert [json.loads(await reader.readline())["ok"] for _ in range(3)] == [True, False, True]
        writer.close()


@pytest.mark.parametrize("limit", [600.0, 0.1])
async def test_a_client_that_never_reads_holds_nobody_up_and_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    monkeypatch.setattr(control, "SEND_TIME", limit)
    monkeypatch.setattr(control, "CLIENTS", 2)
    async with house(tmp_path, *(component(f"c{number}") for number in range(300))):
        with socket.socket(socket.AF_UNIX) as mute:
            mute.connect(str(tmp_path / SOCKET_NAME))
            mute.sendall(b'{"request": "status"}\n' * 50)
            assert (await ask(tmp_path, {"request": "ping"}))[-1]["ok"] is True
            _, idle = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
            if limit > 1:  # Both places are taken for as long as the one that does not read has its own.
                assert (await ask(tmp_path, {"request": "ping"}))[-1]["code"] == "busy"
            else:
                await until(lambda: _answered(tmp_path))
                received = 0
                while data := mute.recv(1 << 16):
                    received += len(data)
                assert 0 < received < 50 * 300 * 50
            idle.close()


async def test_a_client_that_never_asks_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_TIME", 0.05)
    async with house(tmp_path, component("a")):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b'{"request": ')
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_too_many_clients_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CLIENTS", 3)
    async with house(tmp_path, component("a")):
        idle = [await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME)) for _ in range(3)]
        assert (await ask(tmp_path, {"request": "ping"}))[-1]["code"] == "busy"
        idle.pop()[1].close()
        await until(lambda: _answered(tmp_path))
        for _, writer in idle:
            writer.close()


async def _answered(folder: Path) -> bool:
    return bool((await ask(folder, {"request": "ping"}))[-1]["ok"])


async def test_a_client_that_leaves_while_it_waits_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        mission.stubborn.add("a")
        _, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b'{"request": "stop", "components": ["a"]}\n')
        await until(lambda: mission.state("a") == "stopping")
        writer.close()
        mission.die("a")
        await until(lambda: mission.state("a") == "stopped")
        assert (await ask(tmp_path, {"request": "ping"}))[-1]["ok"] is True


async def test_a_fault_in_the_server_is_an_answer_and_is_reported(tmp_path: Path) -> None:
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    async with house(tmp_path, component("a")) as mission:
        mission.runtime.state = None  # type: ignore[assignment]
        answer = (await ask(tmp_path, {"request": "status"}))[-1]
        assert (await ask(tmp_path, {"request": "ping"}))[-1]["ok"] is True
    assert answer["code"] == "internal"
    assert [type(fault) for fault in told] == [AttributeError]


async def test_the_socket_of_a_dead_supervisor_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET_NAME))
    async with house(tmp_path, component("a")):
        assert (await ask(tmp_path, {"request": "ping"}))[-1]["ok"] is True
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_the_socket_of_a_living_server_is_left_alone(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")):
        with pytest.raises(ControlError, match="served by another process"):
            async with house(tmp_path, component("b")):
                pass
        assert (await ask(tmp_path, {"request": "ping"}))[-1]["ok"] is True


async def test_a_file_in_the_place_of_the_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / SOCKET_NAME).write_text("precious")
    with pytest.raises(ControlError, match="is no socket"):
        async with house(tmp_path, component("a")):
            pass
    assert (tmp_path / SOCKET_NAME).read_text() == "precious"


async def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="No such file"):
        async with house(tmp_path / "missing", component("a")):
            pass


async def test_a_path_longer_than_an_address_works_on_both_sides(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)

    def ping() -> str:
        with connect(str(folder)) as connection:
            return str(connection.request("ping")["mission"])

    with none_left_open():
        async with house(folder, component("a")):
            assert (folder / SOCKET_NAME).is_socket()
            assert await asyncio.to_thread(ping) == "demo"
    assert not (folder / SOCKET_NAME).exists()


async def test_an_answer_that_is_due_still_leaves_when_the_server_closes(tmp_path: Path) -> None:
    async with house(tmp_path, component("a")) as mission:
        waiting = asyncio.create_task(ask(tmp_path, {"request": "stop"}))
        await until(lambda: mission.runtime.stopped.done())
    assert (await waiting)[-1]["ok"] is True


async def test_the_client_tells_apart_who_is_not_there_and_who_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError):
        connect(str(tmp_path))
    with pytest.raises(NotRunningError):
        connect(str(tmp_path / "no such folder"))
    lock = MissionLock(str(tmp_path / "razar.lock"))
    lock.acquire()
    with pytest.raises(UnresponsiveError, match=rf"pid {os.getpid()}\) has no control socket"):
        connect(str(tmp_path))
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / SOCKET_NAME))
        mute.listen()
        with (
            connect(str(tmp_path), timeout=0.1) as connection,
            pytest.raises(UnresponsiveError, match="does not answer"),
        ):
            connection.request("ping", answer_time=0.05)
    lock.release()


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\n", b"[1]\n", b'{"ok": true}\n', b'{"ok": "yes", "result": {}}\n']
)
async def test_the_client_survives_any_answer(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / SOCKET_NAME))

    def ping() -> None:
        with connect(str(tmp_path)) as connection:
            connection.request("ping")

    with pytest.raises((UnresponsiveError, RefusedError)):
        await asyncio.to_thread(ping)
    server.close()
