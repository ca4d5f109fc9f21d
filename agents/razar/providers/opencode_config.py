"""What opencode is told: which model, and that it may read and edit in its folder and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from agents.razar.errors import ConfigurationError
from agents.razar.local.workspace import handed_on
from agents.razar.providers.call import checked_key
from agents.razar.providers.kimi2 import PROVIDER
from agents.razar.providers.profiles import HOSTED_MODEL, hosted
from agents.razar.web.endpoint import base, completed, parse
from razar.utils.encoding import encode_json

__all__ = ["Settings", "inline", "settings"]

BACKEND = "OPENCODE_BACKEND"
_KIMI = ("kimi", "kimi-k2", "kimi2")
_OPEN_WEIGHTS = "moonshotai/Kimi-K2-Instruct"
#: The only parts of an operator's own configuration that are taken over: no plugins, servers, permissions.
_TAKEN = ("model", "small_model", "provider", "enabled_providers", "disabled_providers")
#: A text, or a comment; a text, or a comma before a closing bracket.
_COMMENTS = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMAS = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')
_REFERENCE = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)\}")

#: Nothing of this may reach the network or run what lies in the mission.
_SWITCHES = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    # It installs a package for plugins into its configuration folder otherwise.
    "npm_config_offline": "true",
}


class Settings(Struct, frozen=True, kw_only=True):
    """``config`` without permissions; ``env`` holds the secrets; ``auth`` is the file of its logins."""

    config: dict[str, Any]
    env: dict[str, str]
    endpoint: str
    model: str | None
    auth: str | None = None

    def __repr__(self) -> str:
        return f"Settings(endpoint={self.endpoint!r}, model={self.model!r})"


def settings(environ: Mapping[str, str]) -> Settings:
    """What the environment says. Raises ConfigurationError."""
    backend = environ.get(BACKEND, "").strip().lower()
    if not backend:
        return _own(environ)
    if backend not in _KIMI:
        raise ConfigurationError(
            f"{BACKEND}: found {backend[:40]!r}, expected kimi, or nothing for its own model"
        )
    url = environ.get(PROVIDER.endpoint_variable, "")
    target = parse(completed(url, "/chat/completions"), PROVIDER.endpoint_variable)
    key = checked_key(environ.get(PROVIDER.key_variable), PROVIDER)
    known = hosted(target)
    model = environ.get("KIMI2_MODEL", "").strip() or (HOSTED_MODEL if known else _OPEN_WEIGHTS)
    limit = {"context": 262_144, "output": 32_768} if known else {"context": 131_072, "output": 8192}
    options = {"baseURL": base(url)} | ({"apiKey": "{env:KIMI2_API_KEY}"} if key is not None else {})
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Kimi",
        "options": options,
        "models": {model: {"name": model, "limit": limit}},
    }
    config = {
        "enabled_providers": ["kimi2"],
        "model": f"kimi2/{model}",
        "small_model": f"kimi2/{model}",
        "provider": {"kimi2": provider},
    }
    env = handed_on(environ) | ({} if key is None else {"KIMI2_API_KEY": key})
    return Settings(config=config, env=env, endpoint=target.shown, model=model)


def _own(environ: Mapping[str, str]) -> Settings:
    """The model and the logins that opencode has been given by its operator."""
    home = environ.get("HOME", "")
    folder = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    data = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    config: dict[str, Any] = {}
    for name in ("opencode.json", "opencode.jsonc"):
        config |= _read(os.path.join(folder, "opencode", name))
    model = environ.get("OPENCODE_MODEL", "").strip()
    if model:
        config["model"] = model
    wanted = set(_REFERENCE.findall(encode_json(config).decode()))
    env = handed_on(environ) | {name: environ[name] for name in wanted if name in environ}
    auth = os.path.join(data, "opencode", "auth.json")
    shown = config.get("model")
    return Settings(
        config=config,
        env=env,
        endpoint="opencode",
        model=shown if isinstance(shown, str) else None,
        auth=auth if os.path.isfile(auth) else None,
    )


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1 << 20)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} cannot be read") from None
    try:
        for what in (_COMMENTS, _COMMAS):
            text = what.sub(lambda match: match[1] or "", text)
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        # Not the decoder's own words: the file may hold keys.
        raise ConfigurationError(f"{path} is no JSON with comments, as opencode takes it") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: found no object, expected opencode's settings")
    return {name: found[name] for name in _TAKEN if name in found}


def inline(given: Settings, *, edit: str) -> dict[str, str]:
    """The variables that configure one run; ``edit`` is whether it writes (allow) or offers (ask)."""
    permission = {
        "*": "deny",
        "read": "allow",
        "glob": "allow",
        "grep": "allow",
        "edit": edit,
        "external_directory": "deny",
    }
    config = given.config | {
        "agent": {"title": {"disable": True}},
        "autoupdate": False,
        "permission": permission,
        "share": "disabled",
        "snapshot": False,
    }
    return given.env | _SWITCHES | {"OPENCODE_CONFIG_CONTENT": encode_json(config).decode()}
