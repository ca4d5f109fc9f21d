"""What a boot does not load, because its start would take longer for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


#: Prints which of the modules were loaded up to there: one that is put off is an object of ours.
LOADED = """
import json, sys
print(json.dumps([name for name in {names} if type(sys.modules.get(name, 0)) is type(sys)]))
"""
COSTLY = ["ssl", "tokenize", "shutil", "asyncio.sslproto", "importlib.metadata"]
if sys.version_info < (3, 13):  # Since then every dataclass asks it for its annotations.
    COSTLY.append("inspect")
NEVER = ["http.client", "email.message", "yaml", "rich", "prometheus_client", "opentelemetry", "sqlite3"]


@pytest.mark.parametrize("modules", ["razar.boot.job, razar.boot.outputs", "razar.crown_handshake"])
def test_the_start_of_a_boot_loads_nothing_costly(modules: str) -> None:
    start = "from razar.utils.deferral import defer_costly; defer_costly()\n"
    # What a handshake imports on its way.
    crown = "import razar.crown.client, razar.crown_embedded, websockets.server\n"
    found = run(f"{start}import {modules}\n{crown}" + LOADED.format(names=[*COSTLY, *NEVER]))
    assert json.loads(found) == []


def test_what_was_put_off_is_all_there_when_it_is_used() -> None:
    code = """
from razar.utils.deferral import defer_costly
defer_costly()
import asyncio, importlib.metadata, inspect, ipaddress, ssl, sys
stand_in = ssl
assert inspect.isfunction(defer_costly) and sys.modules["inspect"] is not inspect
assert ipaddress.ip_address("127.0.0.1").is_loopback
assert importlib.metadata.version("websockets")
assert not isinstance(1, ssl.SSLSocket) and sys.modules["ssl"] is stand_in
context = ssl.create_default_context()
import ssl as real
assert real is not stand_in and isinstance(context, stand_in.SSLContext)
assert stand_in.SSLSocket is real.SSLSocket and asyncio.base_events.ssl.SSLSocket is real.SSLSocket
from asyncio.sslproto import SSLProtocol
assert SSLProtocol is asyncio.selector_events.sslproto.SSLProtocol
print("ok")
"""
    assert run(code) == "ok"


def test_a_module_that_is_there_already_stays() -> None:
    code = """
import ssl, sys
from razar.utils.deferral import defer
defer("ssl", "no_such_module_at_all")
assert sys.modules["ssl"] is ssl
import no_such_module_at_all
try:
    no_such_module_at_all.anything
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(code) == "no_such_module_at_all"


def test_two_threads_load_a_module_once() -> None:
    code = """
import threading
from razar.utils.deferral import defer
defer("ssl")
import ssl
ready, found = threading.Barrier(8), []
def use():
    ready.wait()
    found.append(ssl.SSLContext)
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import ssl as real
print(len(found), {id(one) for one in found} == {id(real.SSLContext)})
"""
    assert run(code) == "8 True"
