"""The dependencies of a layer: which ones are local paths, and how uv is told about each."""

from __future__ import annotations

import os
import re

from msgspec import Struct, json

from razar.config.model import EnvironmentSpec
from razar.environments.model import LayerError

__all__ = ["Requirement", "canonical", "check_spec", "parse", "secret_variables"]

_LAYER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PYTHON = re.compile(r"[0-9<>=!~.,* ]{1,100}")
# PEP 508: name, extras, "@", location; a marker after a URL starts with " ;".
_NAMED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?)\s*@\s*(?P<location>.+)", re.DOTALL
)
_MARKER = re.compile(r"\s+;|;\s+")
_EXTRAS = re.compile(r"\[[^\[\]/]*\]$")
_ARCHIVE = (".whl", ".tar.gz", ".zip", ".tgz")
# A user name alone is usual with ssh and is no secret there; over http it is often a token.
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<info>[^/@\s]*)@")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Requirement(Struct, frozen=True, kw_only=True):
    """One dependency. ``path`` is the absolute local path, or None.

    ``text`` is the dependency for uv (local paths as absolute file URLs), ``portable`` the same
    without anything that depends on where the mission folder lies.
    """

    text: str
    portable: str
    path: str | None = None


def check_spec(spec: EnvironmentSpec) -> None:
    """Raise LayerError if a name or a dependency could be taken for something else than it is."""
    if not _LAYER.fullmatch(spec.layer):
        raise LayerError(f"{spec.layer!r} is not a layer name: letters, digits, '.', '_' and '-' are")
    if not _PYTHON.fullmatch(spec.python):
        raise LayerError(
            f"python {spec.python!r} is not a version: expected something like '3.11' or '>=3.11'"
        )
    for text in spec.dependencies:
        if not text.strip() or "\n" in text or "\r" in text or text.lstrip().startswith(("-", "#")):
            raise LayerError(
                f"the dependency {_mask(text)!r} is not a PEP 508 requirement: expected something like "
                "'uvicorn>=0.30' or './packages/mine'; options such as an index belong in uv's own "
                "configuration or in UV_* variables"
            )
        for match in _USER_INFO.finditer(text):
            user, _, password = match["info"].partition(":")
            secret = password or ("" if "ssh" in match["scheme"] else user)
            if _VARIABLE.sub("", secret):
                raise LayerError(
                    f"the dependency {_mask(text)!r} holds a password or token, which would stand in the "
                    "lock file; write ${NAME} in its place and set that variable, or use a netrc file"
                )


def _mask(text: str) -> str:
    return _USER_INFO.sub(r"\g<scheme>://****@", text)


def secret_variables(spec: EnvironmentSpec) -> set[str]:
    """Name the environment variables that the dependencies' URLs refer to."""
    return {name for text in spec.dependencies for name in _VARIABLE.findall(text)}


def parse(text: str, root: str) -> Requirement:
    """Tell a local path from a name or URL; relative paths are relative to ``root``."""
    text = text.strip()
    named = _NAMED.fullmatch(text)
    name, rest = (named["name"].strip(), named["location"]) if named else ("", text)
    cut = _MARKER.search(rest)
    location, marker = (rest[: cut.start()], rest[cut.end() :].strip()) if cut else (rest, "")
    location = location.strip()
    extras = ""
    if not name and (found := _EXTRAS.search(location)):
        extras, location = found.group(), location[: found.start()].rstrip()
    path = _local(location, bool(name))
    if path is None:
        return Requirement(text=text, portable=" ".join(text.split()))
    from urllib.parse import quote

    absolute = os.path.normpath(os.path.join(root, path))
    # A path that has nothing in common with the mission folder was meant as it stands.
    apart = os.path.isabs(path) and os.path.commonpath((absolute, root)) == "/"
    portable = absolute if apart else os.path.relpath(absolute, root)
    form = f"{name} @ {{}}" if name else f"{{}}{extras}"
    form += f" ; {marker}" if marker else ""
    return Requirement(
        text=form.format("file://" + quote(absolute)), portable=form.format(portable), path=absolute
    )


def _local(location: str, named: bool) -> str | None:
    if location.startswith("file:"):
        from urllib.parse import unquote

        path = unquote(location.removeprefix("file:"))
        return path[2:].removeprefix("localhost") if path.startswith("//") else path
    if "://" in location:
        return None
    # After "name @" only a path or a URL may follow; otherwise a path shows by its slash or suffix.
    if named or location.startswith(".") or "/" in location or location.endswith(_ARCHIVE):
        return location
    return None


def canonical(spec: EnvironmentSpec, root: str) -> str:
    """Spell out what was asked for, the same on every machine and in every order."""
    wanted = sorted({parse(text, root).portable for text in spec.dependencies})
    asked = {"layer": spec.layer, "python": spec.python.strip(), "dependencies": wanted}
    return json.encode(asked).decode()
