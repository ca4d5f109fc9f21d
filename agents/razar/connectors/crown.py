"""Whether Crown takes a connection: the websocket is opened and closed, no brief is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

__all__ = ["check_crown"]


def check_crown(url: str, environ: Mapping[str, str], timeout: float) -> tuple[str, int | None, str | None]:
    """Connect to a Crown as the handshake does.

    Returns the URL without credentials, the HTTP status if one came, and what is wrong or None.
    """
    from razar.crown.client import parse_url

    try:
        target = parse_url(url)
    except ValueError as fault:
        return "CROWN_WS_URL", None, f"CROWN_WS_URL is no URL of a Crown: {fault}"
    if not (target.secure or target.loopback or environ.get("CROWN_ALLOW_PLAINTEXT") == "1"):
        return (
            target.shown,
            None,
            "unencrypted beyond this machine: use wss://, or set CROWN_ALLOW_PLAINTEXT=1",
        )
    token = environ.get("CROWN_TOKEN", "").strip() or None
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        return target.shown, None, "CROWN_TOKEN holds a character that no HTTP header can carry"
    status, fault_ = asyncio.run(_open(target.url, _authorization(token, target.userinfo), timeout))
    return target.shown, status, fault_


def _authorization(token: str | None, userinfo: tuple[str, str] | None) -> dict[str, str]:
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    if userinfo is None:
        return {}
    from base64 import b64encode

    return {"Authorization": "Basic " + b64encode(":".join(userinfo).encode()).decode()}


async def _open(url: str, headers: dict[str, str], timeout: float) -> tuple[int | None, str | None]:
    import ssl

    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, NegotiationError, WebSocketException
    from websockets.typing import Subprotocol

    from razar.crown.client import quiet_logger
    from razar.crown.protocol import SUBPROTOCOL

    class Connect(connect):
        """Follows no redirect: the token is for the place that was configured."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    try:
        async with asyncio.timeout(timeout):
            connection = await Connect(
                url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                additional_headers=headers,
                user_agent_header=None,
                proxy=None,
                open_timeout=timeout,
                close_timeout=0.5,
                ping_interval=None,
                logger=quiet_logger(),
            )
            await connection.close()
    except TimeoutError:
        return None, f"no answer within {timeout:g} s: is it overloaded, or is a firewall between?"
    except InvalidStatus as fault:
        return fault.response.status_code, _status(fault.response.status_code)
    except NegotiationError:
        return 101, f"it does not speak {SUBPROTOCOL}: is this a Crown?"
    except WebSocketException:
        return None, "what answers there is no websocket server: check the path of CROWN_WS_URL"
    except ssl.SSLCertVerificationError as fault:
        return None, f"its certificate is not trusted ({fault.verify_message})"
    except ssl.SSLError:
        return None, "TLS failed: is it wss:// where the server speaks ws://?"
    except (OSError, EOFError, ValueError):
        return None, "cannot be reached: start Crown, or check CROWN_WS_URL"
    if connection.subprotocol != SUBPROTOCOL:
        return 101, f"it did not agree to {SUBPROTOCOL}: is this a Crown?"
    return 101, None


def _status(status: int) -> str:
    if status in (401, 403):
        return "it does not accept the token: check CROWN_TOKEN"
    if 300 <= status < 400:
        return "it answers with a redirect, and none is followed: configure its target"
    return "it does not open a websocket there: check the path of CROWN_WS_URL"
