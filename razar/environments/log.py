"""The environment log: everything uv says, with the time and the layer, without secrets."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping

__all__ = ["EnvironmentLog", "Redaction"]

#: Bytes after which the log is set aside as ``<log>.1``.
ROTATE_AT = 5 << 20
_USER_INFO = re.compile(r"://([^/@\s'\"`]+)@")
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|API_?KEY", re.IGNORECASE)
_MASK = "****"


class Redaction:
    """Masks the values of variables that hold secrets, and the user part of every URL.

    ``named`` are further variables whose values are secret.
    """

    def __init__(self, environ: Mapping[str, str], named: Iterable[str] = ()) -> None:
        from urllib.parse import unquote

        secrets = {environ[name] for name in named if name in environ}
        for name, value in environ.items():
            if _SECRET_NAME.search(name):
                secrets.add(value)
            for info in _USER_INFO.findall(value):
                password = info.partition(":")[2] or info
                secrets.update((password, unquote(password)))
        # Shorter ones would tear ordinary words to pieces; in URLs they are masked by their place.
        self._secrets = sorted((one for one in secrets if len(one) >= 4), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return _USER_INFO.sub(f"://{_MASK}@", text)


class EnvironmentLog:
    """Appends lines to the log. ``problem`` says why that is not possible, or is None.

    A log that cannot be written does not stop a build.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem: str | None = None
        self._file = -1
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            if os.path.exists(path) and os.path.getsize(path) > ROTATE_AT:
                os.replace(path, f"{path}.1")
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            self._failed(error)

    def write(self, layer: str, line: str) -> None:
        """Append one line, which must be free of secrets."""
        if self._file < 0:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            os.write(self._file, f"[{now}] {layer}: {line}\n".encode(errors="replace"))
        except OSError as error:
            self.close()
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.problem = f"the environment log {self.path} cannot be written: {error.strerror}"

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
