"""The model launcher: the script with a stand-in for vLLM, and what the boot records of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from razar.config.model import CrownSettings
from razar.crown.model_launcher import find_launcher, launch_model
from tests.support.ports import free_port
from tests.support.waiting import until, until_sync

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "crown_model_launcher.sh"
TOOLS = ("sh", "curl", "awk", "cat", "date", "dirname", "mkdir", "setsid", "sleep", "tail")

#: Stands in for vLLM: the same arguments, the same two paths; writes down how it was called.
VLLM = f"""#!{sys.executable}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

arguments = sys.argv[1:]
with open(os.environ["STUB_RECORD"], "a") as record:
    entry = {{"argv": arguments, "token": os.environ.get("HF_TOKEN"), "pid": os.getpid()}}
    record.write(json.dumps(entry) + "\\n")
print("loading weights", flush=True)
if os.environ.get("STUB_DIES"):
    sys.exit("CUDA out of memory")
while os.environ.get("STUB_GATE") and not os.path.exists(os.environ["STUB_GATE"]):
    __import__("time").sleep(0.01)
names = arguments[arguments.index("--served-model-name") + 1 :][:2]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        key = os.environ.get("VLLM_API_KEY")
        allowed = not key or self.path == "/health" or self.headers["Authorization"] == f"Bearer {{key}}"
        body = json.dumps({{"data": [{{"id": name}} for name in names]}}).encode()
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

class Server(HTTPServer):
    def server_bind(self):
        self.socket.setsockopt(__import__("socket").SOL_SOCKET, __import__("socket").SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

Server(("127.0.0.1", int(arguments[arguments.index("--port") + 1])), Handler).serve_forever()
"""


class Machine:
    """A PATH with only the tools the script needs, a free port, and what was started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.record = folder / "record.jsonl"
        self.state = folder / "state"
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None, f"{tool} is needed by the tests"
            (self.bin / tool).symlink_to(found)
        self.port = free_port()
        self.environ = {
            "PATH": str(self.bin),
            "HOME": str(folder),
            "GLM_PORT": str(self.port),
            "GLM_STATE_DIR": str(self.state),
            "GLM_WAIT": "20",
            "STUB_RECORD": str(self.record),
        }

    def install(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), *arguments],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def started(self) -> list[dict[str, Any]]:
        return (
            [json.loads(line) for line in self.record.read_text().splitlines()]
            if self.record.exists()
            else []
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for entry in machine.started():
        _end(entry["pid"])


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until_sync(lambda: _ended(pid))


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_is_missing_is_named_with_how_to_get_it(machine: Machine) -> None:
    done = machine.run("GLM-4.1V")
    assert (done.returncode, done.stdout) == (69, "")
    assert "Neither vLLM nor Docker is installed" in done.stderr and "uv tool install vllm" in done.stderr


def test_docker_without_its_engine_is_missing(machine: Machine) -> None:
    machine.install("docker", "#!/bin/sh\nexit 1\n")
    done = machine.run()
    assert done.returncode == 69
    assert "its engine does not answer" in done.stderr and "systemctl start docker" in done.stderr


def test_without_curl_nothing_can_be_seen(machine: Machine) -> None:
    (machine.bin / "curl").unlink()
    done = machine.run()
    assert done.returncode == 69 and "curl is missing" in done.stderr


def test_it_starts_the_model_and_leaves_it_running(machine: Machine) -> None:
    machine.install("vllm", VLLM)
    done = machine.run(
        "GLM-4.1V", HF_TOKEN="hf_secret_of_mine", VLLM_API_KEY="key-of-mine", GLM_ARGS="--max-num-seqs 4"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"GLM-4.1V answers at http://127.0.0.1:{machine.port}" in done.stdout
    [entry] = machine.started()
    model = "zai-org/GLM-4.1V-9B-Thinking"
    assert entry["argv"] == (
        [
            "serve",
            model,
            "--host",
            "127.0.0.1",
            "--port",
            str(machine.port),
            "--served-model-name",
            "GLM-4.1V",
            model,
            "--max-num-seqs",
            "4",
        ]
    )
    assert entry["token"] == "hf_secret_of_mine"
    assert "hf_secret_of_mine" not in done.stdout + " ".join(entry["argv"])
    assert (machine.state / f"glm-{machine.port}.pid").read_text().split("\n")[0] == str(entry["pid"])
    assert "loading weights" in (machine.state / f"glm-{machine.port}.log").read_text()
    assert os.getsid(entry["pid"]) == entry["pid"]

    again = machine.run("GLM-4.1V", VLLM_API_KEY="key-of-mine")
    assert (again.returncode, len(machine.started())) == (0, 1)
    assert "already answers" in again.stdout


def test_a_model_that_is_still_loading_is_left_to_it_and_not_started_twice(machine: Machine) -> None:
    machine.install("vllm", VLLM)
    gate = machine.folder / "gate"
    first = machine.run(GLM_WAIT="0", STUB_GATE=str(gate))
    assert first.returncode == 75 and "goes on loading" in first.stderr
    second = machine.run(GLM_WAIT="0")
    assert second.returncode == 75 and "already being loaded" in second.stdout
    gate.touch()
    third = machine.run()
    assert third.returncode == 0
    assert len(machine.started()) == 1


def test_a_model_that_dies_is_a_failure_with_its_last_words(machine: Machine) -> None:
    machine.install("vllm", VLLM)
    done = machine.run(STUB_DIES="1")
    assert done.returncode == 1
    assert "CUDA out of memory" in done.stdout and "ended before it answered" in done.stderr


def test_a_pid_that_another_process_got_is_not_taken_for_the_model(machine: Machine) -> None:
    machine.install("vllm", VLLM)
    machine.state.mkdir()
    (machine.state / f"glm-{machine.port}.pid").write_text(f"{os.getpid()}\n1\n")
    assert machine.run().returncode == 0
    assert len(machine.started()) == 1


def _hang_up(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            server.accept()[0].close()


def test_a_port_taken_by_something_else_is_told(machine: Machine) -> None:
    machine.install("vllm", VLLM)
    with socket.create_server(("127.0.0.1", machine.port)) as server:
        threading.Thread(target=_hang_up, args=[server], daemon=True).start()
        done = machine.run()
        server.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 1 and f"Port {machine.port} is taken" in done.stderr
    assert machine.started() == []


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["Qwen3"], {}, "For Qwen3 set GLM_MODEL"),
        ([], {"GLM_PORT": "8000; reboot"}, "GLM_PORT"),
        ([], {"GLM_WAIT": "long"}, "GLM_WAIT"),
        ([], {"GLM_ENGINE": "podman"}, "GLM_ENGINE"),
        ([], {"VLLM_API_KEY": 'x"\nurl = "http://evil'}, "VLLM_API_KEY"),
    ],
)
def test_bad_usage(machine: Machine, arguments: list[str], environ: dict[str, str], words: str) -> None:
    done = machine.run(*arguments, **environ)
    assert done.returncode == 64 and words in done.stderr
    assert "evil" not in done.stderr


#: Stands in for docker: writes down the call and runs the other stand-in on the published port.
DOCKER = """#!/bin/sh
case $1 in
info) exit 0 ;;
inspect) [ -e "$STUB_RECORD.docker" ] && echo true; exit 0 ;;
run) printf '%s\\n' "$*" >>"$STUB_RECORD.docker"
     [ "$HF_TOKEN" = hf_secret_of_mine ] || exit 1
     setsid vllm-inside --port "$GLM_PORT" --served-model-name GLM-4.1V x >/dev/null 2>&1 </dev/null & ;;
esac
"""


def test_docker_where_vllm_is_not_installed(machine: Machine) -> None:
    machine.install("docker", DOCKER)
    machine.install("vllm-inside", VLLM)
    without_gpu = machine.run(HF_TOKEN="hf_secret_of_mine")
    assert without_gpu.returncode == 69 and "nvidia-smi" in without_gpu.stderr
    machine.install("nvidia-smi", "#!/bin/sh\n")
    done = machine.run(HF_TOKEN="hf_secret_of_mine")
    assert (done.returncode, done.stderr) == (0, "")
    call = Path(f"{machine.record}.docker").read_text()
    assert f"--publish 127.0.0.1:{machine.port}:8000" in call and "--gpus all" in call
    assert "--env HF_TOKEN" in call and "hf_secret_of_mine" not in call


def _at_work(folder: Path) -> list[int]:
    """Processes whose working folder this is; one that has ended has none."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(folder):
                found.append(int(entry.name))
    return found


# --- beside the boot -------------------------------------------------------------------


async def _launch(machine: Machine, settings: CrownSettings, **changes: Any) -> dict[str, Any]:
    root, logs = machine.folder / "mission", machine.folder / "mission" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environ = {key: value for key, value in machine.environ.items() if key != "GLM_STATE_DIR"}
    environ |= changes.pop("environ", {})
    return await launch_model(
        settings, model="GLM-4.1V", root=str(root), logs=str(logs), environ=environ, **changes
    )


def _script(machine: Machine, text: str) -> CrownSettings:
    machine.install("launcher", "#!/bin/sh\n" + text)
    return CrownSettings(model_launcher=str(machine.bin / "launcher"))


async def test_a_missing_engine_is_an_outcome(machine: Machine) -> None:
    result = await _launch(machine, CrownSettings())
    assert (result["model"], result["status"], result["returncode"]) == ("GLM-4.1V", "unavailable", 69)
    assert "Neither vLLM nor Docker is installed" in result["detail"]
    assert result["started"] <= result["finished"]
    log = Path(result["log"])
    assert "Neither vLLM nor Docker" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


async def test_the_model_outlives_its_launcher(machine: Machine) -> None:
    machine.install("vllm", VLLM)
    result = await _launch(machine, CrownSettings())
    assert (result["status"], result["returncode"]) == ("launched", 0)
    assert "detail" not in result
    [entry] = machine.started()
    reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
    writer.write(b"GET /health HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    pidfile = machine.folder / "mission" / "logs" / "models" / f"glm-{machine.port}.pid"
    assert pidfile.read_text().split()[0] == str(entry["pid"])


@pytest.mark.parametrize(
    ("text", "status", "returncode", "detail"),
    [
        ("echo working; echo ready; exit 0", "launched", 0, None),
        ("echo nothing here; exit 69", "unavailable", 69, "nothing here"),
        ("exit 75", "timeout", 75, "it said nothing"),
        ("echo 'no memory' >&2; echo; exit 3", "failed", 3, "no memory"),
        ("kill -TERM $$", "failed", 143, "it said nothing"),
        ("printf '\\033[31mkey=%s\\n' \"$MY_API_KEY\"; exit 1", "failed", 1, "[31mkey=***"),
    ],
)
async def test_outcomes(
    machine: Machine, text: str, status: str, returncode: int, detail: str | None
) -> None:
    result = await _launch(machine, _script(machine, text), environ={"MY_API_KEY": "s3cr3t-value"})
    assert (result["status"], result["returncode"], result.get("detail")) == (status, returncode, detail)


async def test_the_launcher_gets_the_model_and_where_to_put_things(machine: Machine) -> None:
    result = await _launch(machine, _script(machine, 'echo "$1|$GLM_STATE_DIR|$PWD"; exit 1'))
    mission = machine.folder / "mission"
    assert result["detail"] == f"GLM-4.1V|{mission / 'logs' / 'models'}|{mission}"


async def test_a_launcher_that_hangs_is_killed_with_its_children(machine: Machine) -> None:
    settings = _script(machine, "trap '' TERM; sleep 600 & wait; sleep 600")
    result = await _launch(machine, settings, timeout=0.5)
    assert result["status"] == "timeout" and result["detail"] == "killed after 0.5 s"
    await until(lambda: not _at_work(machine.folder / "mission"))


async def test_cancelling_kills_the_launcher(machine: Machine) -> None:
    pids = machine.folder / "pids"
    task = asyncio.create_task(_launch(machine, _script(machine, f"echo $$ >{pids}; sleep 600")))
    await until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = int(pids.read_text())
    await until(lambda: _ended(pid))


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable", "no program"])
async def test_a_launcher_that_cannot_be_started_is_a_failure(machine: Machine, kind: str) -> None:
    path = machine.bin / "launcher"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("gibberish")
        path.chmod(0o755 if kind == "no program" else 0o644)
    result = await _launch(machine, CrownSettings(model_launcher=str(path)))
    assert (result["status"], result["returncode"]) == ("failed", None)
    assert str(path) in result["detail"] or "launcher" in result["detail"]


async def test_a_long_log_is_rotated(machine: Machine) -> None:
    log = machine.folder / "mission" / "logs" / "crown_model_launcher.log"
    log.parent.mkdir(parents=True)
    log.write_text("x" * (1 << 20) + "old\n")
    await _launch(machine, _script(machine, "echo new; exit 0"))
    assert "new\n" in log.read_text() and "old" not in log.read_text()
    assert log.with_name(log.name + ".1").read_text().endswith("old\n")


def test_which_launcher_is_taken(tmp_path: Path) -> None:
    """The configured one, then the mission's own, then the one in the package."""
    shipped = find_launcher(CrownSettings(), str(tmp_path))
    assert shipped == str(REPOSITORY / "razar" / "data" / "crown_model_launcher.sh")
    assert os.path.isfile(shipped)
    own = tmp_path / "scripts" / "crown_model_launcher.sh"
    own.parent.mkdir()
    own.touch()
    assert find_launcher(CrownSettings(), str(tmp_path)) == str(own)
    assert find_launcher(CrownSettings(model_launcher="/opt/launch"), str(tmp_path)) == "/opt/launch"
