"""Running uv: which binary, in which environment, with its output to the log."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping

from razar.environments.explain import explain
from razar.environments.model import LayerError
from razar.launchers.base import LaunchError
from razar.launchers.processes import run

__all__ = ["Uv", "UvError", "find_uv", "is_offline", "uv_environ"]

# They would choose another interpreter or folder than ours, switch off the hashes, colour the
# output, or let a build see the modules of whoever started RAZAR.
_DROPPED = re.compile(
    r"VIRTUAL_ENV|CONDA_PREFIX|PYTHON(PATH|HOME|STARTUP|SAFEPATH)|FORCE_COLOR|CLICOLOR_FORCE|RUST_LOG"
    r"|UV_(PYTHON|SYSTEM_PYTHON|BREAK_SYSTEM_PACKAGES|MANAGED_PYTHON|NO_MANAGED_PYTHON|PROJECT\w*"
    r"|WORKING_DIR\w*|NO_VERIFY_HASHES|REQUIRE_HASHES|VENV_\w+|LINK_MODE|COMPILE_BYTECODE"
    r"|CUSTOM_COMPILE_COMMAND)"
)


class UvError(LayerError):
    """uv failed; the text explains it, ``output`` is all it said, without secrets."""

    def __init__(self, explanation: str, output: str) -> None:
        super().__init__(explanation)
        self.output = output


def find_uv() -> str:
    """Return the path of uv's binary; raise LayerError if there is none."""
    try:
        import uv

        return os.fspath(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        raise LayerError(
            "uv, which builds the environments, is not installed beside RAZAR; install it with: "
            f"{sys.executable} -m pip install uv"
        ) from None


def is_offline(asked: bool, environ: Mapping[str, str]) -> bool:
    """Tell whether uv will stay away from the network."""
    return asked or environ.get("UV_OFFLINE", "").lower() in ("1", "true", "t", "yes", "y", "on")


def uv_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment uv is run with.

    The interpreter that runs RAZAR comes first on PATH, so it is chosen whenever it will do.
    """
    kept = {name: value for name, value in environ.items() if not _DROPPED.fullmatch(name)}
    own = os.path.join(sys.base_prefix, "bin")
    path = kept.get("PATH") or os.defpath
    return {
        **kept,
        "PATH": f"{own}{os.pathsep}{path}",
        "UV_PYTHON_PREFERENCE": "system",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
    }


class Uv:
    """Runs uv for one layer in the mission folder.

    ``say`` gets the lines for log and terminal, ``note`` those for the log alone.
    """

    def __init__(
        self,
        binary: str,
        *,
        environ: Mapping[str, str],
        folder: str,
        offline: bool,
        redact: Callable[[str], str],
        say: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self._binary = binary
        self._environ = environ
        self._folder = folder
        self._offline = offline
        self._redact = redact
        self._say = say
        self._note = note

    async def __call__(self, step: str, *arguments: str, timeout: float, quiet: bool = False) -> str:
        """Run one command; return its output without secrets. ``quiet`` shows it in the log only.

        Raises UvError if it fails or takes longer than ``timeout`` seconds; ``step`` says what it was for.
        """
        argv = [self._binary, *arguments, *(("--offline",) if self._offline else ())]
        self._note("$ uv " + " ".join(argv[1:]))
        try:
            done = await run(
                argv,
                cwd=self._folder,
                env=self._environ,
                timeout=timeout,
                on_line=self._note if quiet else self._say,
                capture=True,
            )
        except LaunchError as error:
            raise LayerError(f"uv could not be started: {error}") from None
        output = self._redact(done.output.decode(errors="replace"))
        if done.code == 0 and not done.timed_out:
            return output
        ending = None
        if done.timed_out:
            ending = f"took longer than {timeout:.0f} s and was stopped"
        elif done.signal is not None:
            ending = f"was ended by signal {done.signal}"
        elif done.code is None:
            ending = "ended in a way that could not be learnt"
        raise UvError(explain(step, output, ending), output)
