"""Whether the program of a command can be found, before anything is started."""

from __future__ import annotations

import os

from razar.config.faults import Problem, quote

__all__ = ["Executables"]

#: Names that mean the interpreter of the component's layer, wherever that is.
_INTERPRETERS = frozenset({"python", "python3"})


class Executables:
    """Looks programs up as ``execvp`` would, each one once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Problem | None] = {}

    def problem(self, name: str, *, cwd: str, search: str | None, shown: str) -> Problem | None:
        """Say what keeps ``name`` from being run in ``cwd``, or None.

        ``search`` is the PATH; None means that the name may come from an environment which is not
        built yet: only a name with a slash can be judged then.
        """
        if "=" in shown:  # Someone set a variable there, as a shell would have it: it may be a key.
            shown = shown.partition("=")[0] + "=…"
        if name in _INTERPRETERS:
            return None
        if "/" in name:
            where = cwd
        elif search is None:
            return None
        else:
            where = search
        if (name, where) not in self._known:
            problem = _in_folder(name, cwd, shown) if "/" in name else _on_path(name, where, shown)
            self._known[name, where] = problem
        return self._known[name, where]


def _in_folder(name: str, cwd: str, shown: str) -> Problem | None:
    path = os.path.join(cwd, name)
    if not os.path.exists(path):
        return Problem(
            f"the program {quote(shown)}, which is not there", f"an executable file, relative to {quote(cwd)}"
        )
    if os.path.isdir(path):
        return Problem(f"the folder {quote(shown)}", "an executable file")
    if not os.access(path, os.X_OK):
        return Problem(
            f"the file {quote(shown)}, which is not executable", "an executable file", "use chmod +x"
        )
    return None


def _on_path(name: str, search: str, shown: str) -> Problem | None:
    for folder in search.split(os.pathsep):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return None
    hint = "variables are set in env" if "=" in name else None
    return Problem(f"the program {quote(shown)}, which is not on PATH", "a program that is installed", hint)
