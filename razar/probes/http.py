"""``http://`` and ``https://``: one GET, no redirects, 2xx."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from razar.probes import net
from razar.probes.base import Answer, Check, ProbeError, ProbeTarget
from razar.probes.http_response import Response

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpCheck"]

#: Seconds to wait for the rest of an answer that is good already, so that nobody writes to a
#: closed connection.
COURTESY = 0.02
_context: ssl.SSLContext | None = None


class HttpCheck(Check):
    """The answer is good if its status is 2xx, or if ``expect`` says so."""

    keeps_time = True

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__(target)
        from urllib.parse import quote, unquote, urlsplit

        url = urlsplit(self.probe.target)
        self._tls = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._tls else 80)
        path = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = "?" + quote(url.query, safe="/%:@!$&'()*+,;=~-._?") if url.query else ""
        #: The URL for people: no user-info, no query.
        name = f"[{self._host}]" if ":" in self._host else self._host
        authority = name if url.port is None else f"{name}:{url.port}"
        self._shown = f"{url.scheme}://{authority}{path}"
        lines = [
            f"GET {path}{query} HTTP/1.1",
            f"Host: {authority if authority.isascii() else authority.encode('idna').decode()}",
            "User-Agent: razar",
            "Accept: */*",
        ]
        if url.username is not None:
            from base64 import b64encode

            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            lines.append(f"Authorization: Basic {b64encode(pair.encode()).decode()}")
        self._request = "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def attempt(self) -> Answer:
        deadline = asyncio.get_running_loop().time() + self.probe.timeout
        sock = await net.connect(self._host, self._port, deadline)
        response = Response()
        if self._tls:
            await self._exchange_tls(sock, response, deadline)
        else:
            ended = False
            try:
                ended = await self._exchange(sock, response, deadline)
            finally:
                net.close(sock, ended=ended)
        return Answer(
            status=response.status,
            headers=response.headers,
            body=bytes(response.body),
            truncated=response.truncated,
        )

    def judge(self, answer: Answer) -> None:
        if answer.status is None or not 200 <= answer.status < 300:
            raise ProbeError(f"HTTP {answer.status} from {self._shown}, expected 2xx")

    async def _exchange(self, sock: socket.socket, response: Response, deadline: float) -> bool:
        """Ask and read; returns whether the peer has closed the connection."""
        await net.send(sock, self._request, deadline)
        patience = deadline
        try:
            while not response.complete or response.closes:
                data = await net.receive(sock, patience)
                if not data:
                    response.end()
                    return True
                response.feed(data)
                if response.truncated:
                    break
                if response.complete or (response.has_head and self.probe.expect is None):
                    patience = min(patience, asyncio.get_running_loop().time() + COURTESY)
        except TimeoutError:
            if patience == deadline:
                raise
        return False

    async def _exchange_tls(self, sock: socket.socket, response: Response, deadline: float) -> None:
        import ssl

        try:
            async with asyncio.timeout_at(deadline):
                reader, writer = await asyncio.open_connection(
                    sock=sock, ssl=_default_context(), server_hostname=self._host
                )
                try:
                    writer.write(self._request)
                    while not response.complete:
                        data = await reader.read(65536)
                        if not data:
                            response.end()
                            break
                        response.feed(data)
                        if response.has_head and self.probe.expect is None:
                            break
                finally:
                    writer.transport.abort()
        except ssl.SSLCertVerificationError as error:
            raise ProbeError(
                f"the certificate of {self._shown} is not trusted: {error.verify_message}"
            ) from None
        except ssl.SSLError as error:
            raise ProbeError(f"no TLS at {self._shown}: {error.reason or error.strerror}") from None
        except ConnectionError:
            raise ProbeError(f"{self._shown} closed the connection without an answer") from None
        finally:
            sock.close()


def _default_context() -> ssl.SSLContext:
    """Trust what the system trusts, or SSL_CERT_FILE."""
    global _context
    if _context is None:
        import ssl

        _context = ssl.create_default_context()
    return _context
