"""What ``razar doctor`` finds out about the machine: interpreter, kernel, tools, libraries, agents."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

__all__ = ["Row", "check_machine", "first_on_path"]

OLDEST_PYTHON = (3, 11)
_LIBRARIES = {
    "msgspec": "the configuration and the journal",
    "yaml": "razar_env.yaml",
    "websockets": "Crown and ws probes",
    "prometheus_client": "metrics",
}


class Row(NamedTuple):
    """One finding; ``advice`` says what to do about it."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def check_machine(environ: Mapping[str, str]) -> Iterator[Row]:
    """Yield what was found; nothing is written."""
    yield _python()
    yield _kernel()
    yield _extension()
    yield from _libraries()
    yield from _opencode(environ)
    yield from _repair(environ)


def _python() -> Row:
    found = f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return Row(
            "python", "fail", found, f"run RAZAR with Python {'.'.join(map(str, OLDEST_PYTHON))} or newer"
        )
    return Row("python", "ok", found)


def _kernel() -> Row:
    release = f"Linux {os.uname().release}"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as fault:
        return Row(
            "kernel",
            "fail",
            f"{release}, no pidfd_open: {fault}",
            "Linux 5.4 or newer is needed; a container's seccomp profile must allow pidfd_open",
        )
    if not os.path.exists("/proc/self/stat"):
        return Row("kernel", "fail", f"{release}, /proc is not mounted", "mount /proc")
    return Row("kernel", "ok", release)


def _extension() -> Row:
    try:
        from neoabzu_core import evaluate_py

        value = evaluate_py("1 + 1 == 2")
    except ImportError as fault:
        return Row(
            "extension",
            "fail",
            f"neoabzu_core cannot be imported: {fault}",
            "`when` and `expect` need it: install the razar wheel, or run make in a source tree",
        )
    if value is not True:
        return Row(
            "extension",
            "fail",
            f"neoabzu_core says that 1 + 1 == 2 is {value!r}",
            "install the razar wheel again",
        )
    return Row("extension", "ok", "neoabzu_core evaluates expressions")


def _libraries() -> Iterator[Row]:
    from importlib.util import find_spec

    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    for name in missing:
        yield Row(
            "libraries",
            "fail",
            f"{name} is not installed; {_LIBRARIES[name]} need it",
            f"{sys.executable} -m pip install razar",
        )
    if not missing:
        yield Row("libraries", "ok", ", ".join(_LIBRARIES))


def first_on_path(program: str, environ: Mapping[str, str]) -> str | None:
    """Return where a program is, as the shell would find it."""
    from shutil import which

    return which(program, path=environ.get("PATH", os.defpath))


def _opencode(environ: Mapping[str, str]) -> Iterator[Row]:
    wanted = environ.get("OPENCODE_BIN", "").strip()
    if wanted and first_on_path(wanted, environ) is None:
        found = f"OPENCODE_BIN is {wanted}, which is no program"
        yield Row("opencode", "fail", found, "set it to opencode's path, or unset it")


def _repair(environ: Mapping[str, str]) -> Iterator[Row]:
    """Who can be asked for a repair, and how the tests of a patch would be shut in."""
    from agents.razar.roster import roster

    there = roster(environ)
    for problem in there.problems:
        yield Row("repair agents", "fail", str(problem), "set the variable, or unset it; see docs/agents.md")
    names = ", ".join(agent.name for agent in there.agents)
    if names:
        yield Row("repair agents", "ok", names)
    elif not there.problems:
        advice = (
            "failures end in quarantine; KIMI2_ENDPOINT, OPENCODE_BIN or RAZAR_ACP_COMMAND names an agent"
        )
        yield Row("repair agents", "warn", "none is configured", advice)
    if any(agent.name in ("acp", "opencode") for agent in there.agents):
        yield _confinement()
    yield _sandbox()


def _confinement() -> Row:
    import asyncio

    from agents.razar.local.confinement import usable

    if asyncio.run(usable()):
        return Row("agents' programs", "ok", "shut in by bubblewrap")
    found = "not shut in: they may read and write what you may"
    return Row("agents' programs", "warn", found, "install bubblewrap")


def _sandbox() -> Row:
    import asyncio

    from agents.razar.patching.refusal import Refusal
    from agents.razar.patching.sandbox import available

    try:
        mode = asyncio.run(available())
    except Refusal as refusal:
        return Row(
            "sandbox", "fail", str(refusal), "patches with repair.tests are refused; install bubblewrap"
        )
    if mode in ("bubblewrap", "namespaces"):
        return Row("sandbox", "ok", mode)
    return Row("sandbox", "warn", mode, "tests of a patch are shut in better with bubblewrap installed")
