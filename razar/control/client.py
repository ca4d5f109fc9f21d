"""Speaks to a running mission over its control socket; blocking, and light enough for any command."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from razar.boot.mission_lock import MissionLock
from razar.control.address import ANSWER_LIMIT, LOCK_NAME, SOCKET_NAME, address

__all__ = ["Connection", "NotRunningError", "RefusedError", "UnresponsiveError", "connect", "supervisor"]

#: Seconds in which a supervisor must take a connection or answer what needs no waiting.
ANSWER_TIME = 10.0
#: Seconds that a supervisor whose socket is not there yet, or no longer, is given: on a busy machine it takes
#: more than one to open it, on a slow disk to write what is left after closing it.
PATIENCE = 5.0
#: Seconds without a word after which a supervisor that was asked to wait for something counts as hung.
SILENCE = 60.0


class NotRunningError(Exception):
    """No supervisor runs the mission."""


class UnresponsiveError(Exception):
    """A supervisor runs, but cannot be spoken to; ``pid`` is its process id, 0 if unknown."""

    def __init__(self, message: str, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class RefusedError(Exception):
    """The supervisor refused, or what was asked was not reached; ``answer`` is all it said."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("error") or "the supervisor refused"))
        self.code = str(answer.get("code") or "")
        self.answer = answer


def supervisor(logs: str) -> int | None:
    """Return the pid of the supervisor of a logs folder, 0 if it cannot be told, None if none runs."""
    try:
        return MissionLock.holder(os.path.join(logs, LOCK_NAME))
    except PermissionError:
        return 0 if os.path.exists(os.path.join(logs, SOCKET_NAME)) else None
    except OSError:
        return None


def connect(logs: str, *, timeout: float = ANSWER_TIME, patience: float = PATIENCE) -> Connection:
    """Connect to the supervisor of a logs folder. Raises NotRunningError or UnresponsiveError.

    One that is about to open its socket, or to end, is waited for, ``patience`` seconds long.
    """
    path = os.path.join(os.path.abspath(logs), SOCKET_NAME)
    until = time.monotonic() + patience
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            with address(path) as where:
                sock.connect(where)
            return Connection(sock)
        except OSError as fault:
            sock.close()
            passing = isinstance(fault, FileNotFoundError | ConnectionRefusedError)
            if not passing or supervisor(logs) is None or time.monotonic() > until:
                raise _explain(fault, logs, path) from None
        time.sleep(0.02)


def _explain(fault: OSError, logs: str, path: str) -> Exception:
    pid = supervisor(logs)
    if pid is None:
        return NotRunningError(f"no mission runs with the logs folder {logs}")
    who = f"supervisor (pid {pid})" if pid else "supervisor"
    if isinstance(fault, PermissionError):
        return UnresponsiveError(
            f"{path} belongs to another user; only that user and root may speak to the {who}", pid
        )
    if isinstance(fault, TimeoutError | BlockingIOError):
        return UnresponsiveError(f"the {who} does not answer", pid)
    why = fault.strerror or str(fault)
    return UnresponsiveError(f"the {who} has no control socket ({why}): it is about to start or to end", pid)


class Connection:
    """One conversation; use it as a context manager."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        #: The supervisor's process id; 0 if it lives in another pid namespace.
        self.pid: int = pid
        self._pidfd = _open_pidfd(pid)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._pidfd is not None:
            os.close(self._pidfd)

    def request(
        self,
        name: str,
        *,
        answer_time: float = ANSWER_TIME,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Ask and return the result.

        With ``on_progress`` the request may take as long as the supervisor gives signs of life;
        each is handed over. Raises RefusedError, or UnresponsiveError, also if others keep it busy.
        """
        message = {"request": name, **{key: value for key, value in fields.items() if value is not None}}
        self._socket.settimeout(answer_time if on_progress is None else SILENCE)
        try:
            self._send(json.dumps(message).encode() + b"\n")
            while "ok" not in (answer := self._receive()):
                if on_progress is not None and isinstance(answer.get("progress"), dict):
                    on_progress(answer["progress"])
        except TimeoutError:
            raise UnresponsiveError(f"the supervisor (pid {self.pid}) does not answer", self.pid) from None
        except OSError as fault:
            message_ = (
                f"the supervisor (pid {self.pid}) broke the conversation off: {fault.strerror or fault}"
            )
            raise UnresponsiveError(message_, self.pid) from None
        result = answer.get("result")
        if answer.get("code") == "busy":
            raise UnresponsiveError(
                f"the supervisor (pid {self.pid}) does not listen: {answer.get('error')}", self.pid
            )
        if answer["ok"] is not True or not isinstance(result, dict):
            raise RefusedError(answer)
        return result

    def wait_until_gone(self, logs: str, timeout: float | None = None) -> bool:
        """Wait until the supervisor's process has ended; False if it has not within ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            left = None if until is None else max(0.0, until - time.monotonic()) * 1000
            return bool(poll.poll(left))
        while supervisor(logs) is not None:
            if until is not None and time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It hung up on us, most likely after telling why: that is read next.

    def _receive(self) -> dict[str, Any]:
        parts = [self._rest]
        size = len(self._rest)
        while b"\n" not in parts[-1]:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError(None, "it hung up")
            parts.append(data)
            size += len(data)
            if size > ANSWER_LIMIT:
                raise OSError(None, "its answer is too long")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise OSError(None, "its answer is no JSON object")
        return answer


def _open_pidfd(pid: int) -> int | None:
    if pid <= 0:
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
