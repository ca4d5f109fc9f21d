"""The gateway as a program: ``python -m neoabzu_crown``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neoabzu_crown import Gateway

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m neoabzu_crown",
        description="Serve servant models as one OpenAI-style API, and speak razar.crown.v1 at /crown. "
        "Without --config the servants come from $SERVANT_MODELS (name=url,name=url). "
        "Clients must show $CROWN_TOKEN if that is set.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0, the default, takes a free one")
    parser.add_argument("--config", metavar="FILE", help="configuration in JSON")
    parser.add_argument(
        "--grace", type=float, default=30.0, metavar="S", help="seconds to finish what is under way"
    )
    parser.add_argument("--no-token", action="store_true", help="listen beyond loopback without a token")
    return parser


def _config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if not isinstance(config, dict):
        raise ValueError("it does not hold a JSON object")
    memory = config.get("memory")
    if isinstance(memory, dict) and isinstance(memory.get("path"), str) and memory["path"].strip():
        # As everywhere, a path is relative to the folder of the file that names it.
        memory["path"] = os.path.join(os.path.dirname(os.path.abspath(path)), memory["path"].strip())
    return config


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_text(value: str) -> bool:
    """Whether it holds no halves of surrogate pairs, as which Python has bytes that are not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _allow_many_connections() -> None:
    """Raise the limit on open files to what is permitted: each connection takes one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the first line on stdout is the URL. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    token = (os.environ.get("CROWN_TOKEN") or "").strip() or None
    if token and not _is_text(token):
        told = "configuration: CROWN_TOKEN: its value is not UTF-8 text; set it anew, or unset it"
        print(told, file=sys.stderr)
        return 2
    if not 0 <= options.port <= 65535:
        parser.error(f"--port {options.port}: a port is a number from 0 to 65535")
    if not (token or options.no_token or _is_loopback(options.host)):
        parser.error(f"--host {options.host} is not loopback: set CROWN_TOKEN, or give --no-token")
    from neoabzu_crown import ConfigurationError, serve

    try:
        config = _config(options.config)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        parser.error(f"--config {options.config} cannot be used: {reason}")
    _allow_many_connections()
    listening = False

    def ready(gateway: Gateway) -> None:
        nonlocal listening
        listening = True
        print(gateway.url, flush=True)

    try:
        serve(
            config,
            host=options.host,
            port=options.port,
            token=token,
            grace=options.grace,
            ready=ready,
        )
    except ConfigurationError as error:
        for fault in error.faults or [str(error)]:
            print(f"configuration: {fault}", file=sys.stderr)
        return 2
    except OSError as error:
        if listening:
            raise
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    from razar.utils.pipes import until_closed

    raise SystemExit(until_closed(main))
