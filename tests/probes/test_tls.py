"""Probes over TLS: certificates are checked."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from razar.config.model import Probe
from razar.probes import http
from tests.probes.checking import attempt, refusal
from tests.support.http_server import serve

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


@pytest.fixture(autouse=True)
def fresh_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_context", None)


def https(port: int, host: str = "localhost", **options: object) -> Probe:
    return Probe(kind="http", target=f"https://{host}:{port}/healthz", timeout=5.0, **options)  # type: ignore[arg-type]


async def test_certificate_that_is_trusted(
    certificate: Path, server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    async with serve(OK, ssl=server_context) as peer:
        assert await attempt(https(peer.port)) is None
        probe = https(peer.port, expect="json.ok")
        assert await attempt(probe, evaluate=lambda _, variables: variables["json"]["ok"]) is None


async def test_certificate_nobody_vouches_for(server_context: ssl.SSLContext) -> None:
    async with serve(OK, ssl=server_context) as peer:
        error = await refusal(https(peer.port))
    assert (
        error
        == f"the certificate of https://localhost:{peer.port}/healthz is not trusted: self-signed certificate"
    )


async def test_certificate_of_somebody_else(
    certificate: Path, server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    async with serve(OK, ssl=server_context) as peer:
        assert "certificate is not valid for '127.0.0.1'" in await refusal(https(peer.port, "127.0.0.1"))


async def test_port_without_tls() -> None:
    async with serve(OK) as peer:
        with socket.socket():
            error = await refusal(Probe(kind="http", target=f"https://127.0.0.1:{peer.port}/", timeout=0.3))
    assert error.startswith(("no TLS at", "no answer within"))
