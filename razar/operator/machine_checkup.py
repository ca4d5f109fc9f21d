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
    yield _opencode(environ)
    yield from _kimi(environ)


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


def _opencode(environ: Mapping[str, str]) -> Row:
    wanted = environ.get("OPENCODE_BIN", "").strip()
    found = first_on_path(wanted or "opencode", environ)
    if found is not None:
        return Row("opencode", "ok", found)
    if wanted:
        return Row(
            "opencode",
            "fail",
            f"OPENCODE_BIN is {wanted}, which is no program",
            "set it to opencode's path, or unset it",
        )
    return Row(
        "opencode",
        "warn",
        "not installed",
        "only repairs use it: without a repair agent, failures end in quarantine",
    )


def _kimi(environ: Mapping[str, str]) -> Iterator[Row]:
    backend = environ.get("OPENCODE_BACKEND", "").strip()
    if not backend:
        return
    if backend != "kimi":
        yield Row(
            "repair backend",
            "fail",
            f"OPENCODE_BACKEND is {backend!r}",
            "the only other backend is kimi; unset it for opencode",
        )
        return
    missing = [name for name in ("KIMI2_ENDPOINT", "KIMI2_API_KEY") if not environ.get(name, "").strip()]
    if missing:
        yield Row(
            "repair backend",
            "fail",
            f"OPENCODE_BACKEND is kimi, but {' and '.join(missing)} not set",
            "set them, or unset OPENCODE_BACKEND",
        )
    else:
        yield Row("repair backend", "ok", "kimi")
