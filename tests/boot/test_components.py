"""What a component is started with, and every way to prove it healthy, through real boots."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.boot.checks import healthy_remains, holding
from tests.boot.mission import Mission, script, service
from tests.support.ports import free_port
from tests.support.waiting import until_sync

Make = Callable[..., Mission]

#: A component in Python without site-packages: it tells what it sees, then what the test adds.
TELL = """
import json, os, resource, sys
told = {"env": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv[1:], "python": sys.executable,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "group": os.getpgrp() == os.getpid(),
        "fds": sorted(os.listdir("/proc/self/fd")), "session": os.getsid(0) == os.getpid(),
        "masked": [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigBlk")][0]}
open(os.environ["TOLD"], "w").write(json.dumps(told))
print("ready", flush=True)
"""


def teller(one: str, tell: str, **settings: Any) -> dict[str, Any]:
    env = {"TOLD": tell, **settings.pop("env", {})}
    argv = [
        "python",
        "-I",
        "-S",
        "-c",
        TELL + "import time; time.sleep(1000)",
        *settings.pop("arguments", []),
    ]
    return {"id": one, "layer": "core", "entrypoint": argv, "health": "log: ready", "env": env, **settings}


def test_a_component_is_started_with_what_its_file_says_and_no_more(mission: Make, tmp_path: Any) -> None:
    (tmp_path / "secrets.env").write_text("# comment\nFROM_FILE='one two'\nBOTH=file\n")
    (tmp_path / "work").mkdir()
    one = mission(
        teller(
            "a",
            f"{tmp_path}/told",
            arguments=["${GREETING} ${NAME:-nobody}", "$$HOME", "a b"],
            env={"BOTH": "env", "ASKED": "${CROWN_TOKEN}"},
            env_file="secrets.env",
            cwd="work",
            limits={"files": 64},
        )
    )
    withheld = {
        name: f"{name.lower()}-1234567890"
        for name in ("CROWN_TOKEN", "KIMI2_API_KEY", "AIRSTAR_API_KEY", "RSTAR_API_KEY")
    }
    assert one.boot(GREETING="good morning", PLAIN="passed on", NOTIFY_SOCKET="@/nowhere", **withheld) == 0
    told = json.loads((tmp_path / "told").read_text())
    env = told["env"]
    assert told["argv"] == ["good morning nobody", "$HOME", "a b"]
    assert told["cwd"] == str(tmp_path / "work") and told["python"] == sys.executable
    assert env["FROM_FILE"] == "one two" and env["BOTH"] == "env" and env["PLAIN"] == "passed on"
    assert env["ASKED"] == withheld["CROWN_TOKEN"]
    assert not env.keys() & {*withheld, "NOTIFY_SOCKET", "TRACEPARENT", "RAZAR_DETACHED_FD"}
    assert (env["RAZAR_MISSION"], env["RAZAR_COMPONENT"], env["RAZAR_LAYER"]) == ("demo", "a", "core")
    assert told["files"] == 64 and told["group"] and told["session"] and int(told["masked"], 16) == 0
    assert told["fds"][:3] == ["0", "1", "2"] and len(told["fds"]) == 4  # And the folder that is listed.
    (tmp_path / "told").unlink()
    assert holding(one, *withheld.values()) == []
    healthy_remains(one)


def test_every_kind_of_probe_proves_a_component(mission: Make, tmp_path: Any) -> None:
    tcp, http, ws = free_port(), free_port(), free_port()
    serve = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "while True:\n"
        "    client, _ = server.accept()\n"
        "    client.recv(4096)\n"
        "    body = b'{\"data\": [1, 2]}'\n"
        "    head = b'HTTP/1.1 202 OK\\r\\nX-Mark: x\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body)\n"
        "    client.sendall(head + body)\n"
        "    client.close()\n"
    )
    websocket = (
        "import asyncio, sys\nfrom websockets.asyncio.server import serve\n"
        "async def main():\n"
        "    async with serve(lambda c: c.wait_closed(), '127.0.0.1', int(sys.argv[1])) as s:\n"
        "        await s.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    notify = (
        "import os, socket, time\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "path = os.environ['NOTIFY_SOCKET']\n"
        "s.sendto(b'READY=1', '\\0' + path[1:] if path[0] == '@' else path)\n"
        "time.sleep(1000)\n"
    )
    expect = "status == 202 && json.data.size() == 2 && headers['x-mark'] == 'x' && elapsed < 5.0"

    def python(id: str, code: str, health: Any, *arguments: str) -> dict[str, Any]:
        return {"id": id, "layer": "core", "entrypoint": ["python", "-c", code, *arguments], "health": health}

    (tmp_path / "made").write_text("by an earlier launch")
    one = mission(
        python("http", serve, {"http": f"http://127.0.0.1:{http}/", "expect": expect}, str(http)),
        python("tcp", serve, f"tcp://127.0.0.1:{tcp}", str(tcp)),
        python("ws", websocket, f"ws://127.0.0.1:{ws}/", str(ws)),
        python("notify", notify, "notify"),
        {**script("file", "sleep 0.1; echo x > made; exec sleep 1000"), "health": "./made"},
        {**script("cmd", "sleep 0.1; touch flag; exec sleep 1000"), "health": "cmd: test -e flag"},
        {**script("log", "echo listening on port 80; exec sleep 1000"), "health": "log: on port \\d+$"},
        {**script("exit", "exit 0"), "kind": "task", "health": "exit"},
        ignition="parallel",
    )
    one.start()
    one.wait_for_line("INFO Mission demo complete")
    assert one.stop() == 0
    assert {c["id"]: c["state"] for c in one.state["components"]} == {
        **dict.fromkeys("http tcp ws notify file cmd log".split(), "stopped"),
        "exit": "completed",
    }
    healthy_remains(one)


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({"cmd": ["sh", "-c", "echo why not; exit 3"]}, "why not"),
        ({"cmd": ["sleep", "1000"], "timeout": "50ms"}, "no answer within 0.05 s"),
        ({"file": "./old"}, "old"),
        ({"log": "never"}, "never"),
        ({"tcp": "127.0.0.1:1"}, "127.0.0.1:1"),
        ({"notify": True, "deadline": "2s"}, "READY=1"),
    ],
    ids="cmd hanging file log tcp notify".split(),
)
def test_a_component_that_is_not_proven_in_time_fails_with_the_probes_last_word(
    mission: Make, tmp_path: Any, health: dict[str, Any], words: str
) -> None:
    (tmp_path / "old").touch()
    one = mission({**service("a", retries=0), "health": {"deadline": "1s", **health}})
    assert one.boot() == 1
    text = "\n".join(one.log)
    assert "ERROR Health check failed for a" in text and words in text, text
    healthy_remains(one)


def test_a_process_that_ended_is_never_healthy_whatever_its_probe_says(mission: Make) -> None:
    one = mission({"id": "a", "layer": "core", "entrypoint": "false", "health": "cmd: true", "retries": 0})
    assert one.boot() == 1
    assert "exited with code 1" in one.err + "\n".join(one.log)


def test_dependants_wait_for_what_they_asked_for(mission: Make) -> None:
    order = "echo {0} >> order; echo ready; exec sleep 1000"
    one = mission(
        {**script("migrate", "sleep 0.2; echo migrate >> order"), "kind": "task", "health": "exit"},
        script("a", order.format("a"), depends_on=[{"id": "migrate", "condition": "completed"}]),
        script("b", "echo b >> order; test -e go && echo ready; exec sleep 1000"),
        script(
            "c",
            "echo c >> order; touch go; echo ready; exec sleep 1000",
            depends_on=[{"id": "b", "condition": "started"}],
        ),
        script("d", order.format("d"), depends_on=["a", "c"]),
        ignition="parallel",
    )
    text = one.folder / "boot_config.json"
    text.write_text(text.read_text().replace("test -e go &&", "while ! test -e go; do sleep 0.01; done;"))
    assert one.boot() == 0
    order_of = (one.folder / "order").read_text().split()
    assert order_of.index("migrate") < order_of.index("a") < order_of.index("d") == 4
    assert order_of.index("b") < order_of.index("c") < order_of.index("d")
    healthy_remains(one)


def test_in_parallel_nobody_waits_for_a_stranger(mission: Make) -> None:
    # Each is ready only once the others run: one by one this would never end.
    text = "touch {0}; while ! test -e a -a -e b -a -e c; do sleep 0.01; done; echo ready; exec sleep 1000"
    one = mission(*(script(id, text.format(id)) for id in "abc"), ignition="parallel")
    assert one.boot() == 0
    healthy_remains(one)


def test_what_fails_takes_its_dependants_along_and_nobody_else(mission: Make) -> None:
    one = mission(
        script("optional", "exit 1", retries=0, criticality="optional"),
        service("needs", depends_on=["optional"], criticality="optional"),
        service("off", when="false"),
        service("alone"),
        {**script("task", "exit 3", retries=0), "kind": "task", "health": "exit", "criticality": "optional"},
        service("after", depends_on=[{"id": "task", "condition": "completed"}], criticality="optional"),
    )
    one.start()
    one.wait_for_line("INFO Mission demo complete")
    one.wait_for_state("alone", "running")
    states = {c["id"]: c["state"] for c in one.state["components"]}
    assert states == {
        "optional": "quarantined",
        "needs": "blocked",
        "off": "skipped",
        "alone": "running",
        "task": "quarantined",
        "after": "blocked",
    }
    assert one.stop() == 0
    healthy_remains(one)


def test_a_service_that_ends_with_zero_is_restarted_only_by_policy_always(mission: Make) -> None:
    once = (
        "echo ready; while ! test -e go; do sleep 0.01; done; "
        "test -e again{0} || {{ touch again{0}; exit 0; }}; exec sleep 1000"
    )
    one = mission(
        script("a", once.format("a"), restart={"policy": "always", "backoff": "0ms"}),
        script("b", once.format("b")),
        service("c"),
    ).start()
    one.wait_for_line("INFO Mission demo complete")
    (one.folder / "go").touch()
    until_sync(
        lambda: one.component("a").get("incarnation") == 2 and one.component("a")["state"] == "running"
    )
    until_sync(lambda: one.component("b")["state"] != "running")
    assert one.component("b")["incarnation"] == 1
    one.stop()
    healthy_remains(one)


def test_retries_of_the_command_line_and_no_repair(mission: Make) -> None:
    one = mission(script("a", "echo tried >> tries; exit 1", restart={"backoff": "1ms"}))
    assert one.boot("--retries", "0", "--no-repair") == 1
    assert (one.folder / "tries").read_text().count("tried") == 1


def test_memory_that_a_component_may_not_have(mission: Make) -> None:
    hungry = {
        **service("a", retries=0),
        "entrypoint": ["python", "-I", "-S", "-c", "x = bytearray(300 << 20)"],
    }
    one = mission({**hungry, "limits": {"memory": "100M"}})
    assert one.boot() == 1
    assert "MemoryError" in (one.logs / "components/a/current.log").read_text()
    assert "| a | resource |" in (one.folder / "docs/quarantine_log.md").read_text()


def test_two_boots_of_one_mission_with_logs_of_their_own(mission: Make) -> None:
    one = mission(service("a"))
    one.start("--logs", "elsewhere/one")
    one.logs = one.folder / "elsewhere/one"
    one.wait_for_line("INFO Mission demo complete")
    one.logs = one.folder / "logs"
    first = one.process
    assert first is not None
    assert one.boot("--logs", "elsewhere/two") == 0
    assert not one.logs.exists()
    assert first.poll() is None
    one.process = first
    assert one.stop() == 0 and one.processes() == []
    for folder in ("one", "two"):
        path = one.folder / "elsewhere" / folder
        assert json.loads((path / "razar_state.json").read_text())["components"][0]["state"] == "stopped"
        for file in path.rglob("*"):
            assert oct(file.stat().st_mode & 0o7777) in ("0o640", "0o750"), file
    assert os.listdir(one.folder / "elsewhere/one/components") == ["a"]


def test_many_components_with_few_descriptors(mission: Make) -> None:
    """A soft limit that is too low for RAZAR is raised; the components get it as it was."""
    text = 'while [ "$(ulimit -Sn)" != 64 ]; do sleep 0.01; done; echo ready; exec sleep 1000'
    one = mission(*(script(f"c{n}", text, retries=0) for n in range(70)), ignition="parallel")
    done = subprocess.run(
        ["sh", "-c", f"ulimit -Sn 64; exec {sys.executable} -m razar boot --mission demo --exit-after-boot"],
        cwd=one.folder,
        env=one.environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    healthy_remains(one)
