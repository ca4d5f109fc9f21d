"""A signal ends a boot whenever it comes, whichever thread the kernel gives it to."""

from __future__ import annotations

import subprocess
import sys

from tests.boot.mission import REPOSITORY

#: Nothing but the signal can wake the loop, and it interrupts another thread than the loop's.
IDLE = """
import asyncio, os, signal, threading, time
from razar.boot import stop_signals

main = threading.get_native_id()

def interrupt():
    while open(f"/proc/self/task/{main}/stat").read().rpartition(")")[2].split()[0] != "S":
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

async def work():
    loop = asyncio.get_running_loop()
    heard = loop.create_future()
    stop_signals.take_over(loop, heard.set_result)
    threading.Thread(target=interrupt).start()
    print(await heard, flush=True)
    stop_signals.ignore(loop)

stop_signals.take()
asyncio.run(work())
"""


def test_a_loop_that_sleeps_is_woken() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IDLE], capture_output=True, text=True, timeout=60, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("15\n", "Signals.SIGTERM\n")
