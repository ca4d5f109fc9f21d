"""By default nothing leaves the machine: the kernel counts what a boot tried to send beyond it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.boot.mission import Mission, http_service, script, service
from tests.support.ports import free_port

Make = Callable[..., Mission]

#: In a network of its own that has only the loopback device: run a command, tell how often there was no
#: way out for a packet (OutNoRoutes; a name that is looked up counts as well).
ALONE = """
import fcntl, json, re, socket, struct, subprocess, sys

def unroutable():
    names, values = [
        line.split()[1:] for line in open("/proc/net/snmp") if line.startswith("Ip:")
    ]
    count = int(dict(zip(names, values))["OutNoRoutes"])
    return count + int(re.search(r"Ip6OutNoRoutes\\s+(\\d+)", open("/proc/net/snmp6").read())[1])

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
    up = struct.pack("16sh", b"lo", 1)
    fcntl.ioctl(asked, 0x8914, up)  # SIOCSIFFLAGS: IFF_UP
before = unroutable()
code = subprocess.run(sys.argv[1:]).returncode
print(json.dumps({"code": code, "tried": unroutable() - before}))
"""
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--")


def boot_alone(one: Mission, **environ: str) -> dict[str, Any]:
    """Boot and stop in a network of its own; return the exit code and what it tried to send out."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not installed")
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us make a network namespace")
    command = [sys.executable, "-m", "razar.boot_orchestrator", "--mission", "demo", "--exit-after-boot"]
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", ALONE, *command],
        cwd=one.folder,
        env=one.environ(**environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_boot_with_crown_memory_and_a_failure(mission: Make) -> None:
    broken = script("broken", "exit 1", retries=0, criticality="optional", repair={"paths": ["src/*"]})
    served = http_service("served", free_port())
    one = mission(service("a"), served, broken, crown={"required_model": None})
    assert boot_alone(one) == {"code": 0, "tried": 0}
    assert one.state["handshake"]["status"] == "ack"
    assert one.component("served")["incarnation"] == 1 and one.component("broken")["state"] == "quarantined"


def test_what_the_operator_points_outside_is_counted(mission: Make) -> None:
    health = {"http": "http://192.0.2.1/", "deadline": "1s"}
    one = mission(service("a"), service("outside", health=health, retries=0, criticality="optional"))
    found = boot_alone(one)
    assert found["code"] == 0 and found["tried"] > 0
