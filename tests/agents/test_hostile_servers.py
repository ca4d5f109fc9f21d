"""Servers that misbehave: each is a typed error, none of which holds the key, or a harmless reply."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from agents.razar.ai_invoker import _invoke_kimi2
from agents.razar.errors import (
    AgentError,
    AgentTimeoutError,
    AnswerTooLargeError,
    BrokenConnectionError,
    ConfigurationError,
    ProposalRefusedError,
    RedirectError,
    TLSFailedError,
    UnreachableError,
)
from agents.razar.proposals.tool_calls import read_proposal
from agents.razar.providers.call import call
from agents.razar.providers.kimi2 import PROVIDER
from agents.razar.web.own_keys import WITHHELD
from tests.agents.server import Behaviour, Request, answering, http, serving
from tests.support.ports import free_port

KEY = "k-hostile-0123456789abcdef"
CERTIFICATE = Path(__file__).parent.parent / "crown" / "tls" / "localhost.pem"


def ask(url: str, time_limit: float = 10.0, payload: Any = None) -> Any:
    return call(
        PROVIDER, "Kimi2", url, {"model": "m"} if payload is None else payload, KEY, time_limit=time_limit
    )


def failure(url: str, time_limit: float = 10.0) -> AgentError:
    with pytest.raises(AgentError) as caught:
        ask(url, time_limit)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(vars(caught.value))
    assert KEY not in told
    return caught.value


def endless(head: bytes, piece: bytes, pause: float = 0.0) -> Behaviour:
    def behave(connection: socket.socket, request: Request, released: threading.Event) -> None:
        connection.sendall(head)
        while not released.wait(pause):
            connection.sendall(piece)

    return behave


OK = b"HTTP/1.1 200 OK\r\n"


def test_a_redirect_to_another_host_is_not_followed() -> None:
    with serving(answering(http("mine now"))) as thief:
        for status in (301, 302, 303, 307, 308):
            with serving(answering(http("", status, Location=thief.url()))) as server:
                error = failure(server.url())
            assert type(error) is RedirectError and not error.retryable and error.next_step == "operator"
    assert thief.requests == []


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(endless(OK + b"Content-Length: 500\r\n\r\n", b" ", 0.02), id="body"),
        pytest.param(endless(OK + b"X-Slow: ", b"x", 0.02), id="header"),
        pytest.param(endless(b"", b"H", 0.02), id="status line"),
        pytest.param(endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.02), id="chunks"),
        pytest.param(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), id="interim answers"),
        pytest.param(endless(b"", b"", 0.02), id="nothing"),
    ],
)
def test_a_trickle_ends_at_the_deadline(behaviour: Behaviour) -> None:
    with serving(behaviour) as server:
        error = failure(server.url(), 0.4)
    assert type(error) is AgentTimeoutError and "after 0.4 s" in str(error)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(endless(OK + b"\r\n", b"x" * 65536), id="no length"),
        pytest.param(
            endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
            id="chunks",
        ),
        pytest.param(
            endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 60000 + b"\r\n"),
            id="trailers",
        ),
        pytest.param(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), id="interim answers"),
        pytest.param(answering(OK + b"Content-Length: 52428800\r\n\r\n"), id="50 MB announced"),
        pytest.param(answering(http(b"[" + b"1," * 26_000_000 + b"1]", length=52_000_003)), id="50 MB"),
    ],
)
def test_an_endless_answer_ends_at_the_largest_size(behaviour: Behaviour) -> None:
    with serving(behaviour) as server:
        error = failure(server.url(), 30.0)
    assert type(error) is AnswerTooLargeError and not error.retryable


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="ssh"),
        pytest.param(OK + b"Content-Length: 100\r\n\r\n{}", id="cut off"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}", id="chunk cut off"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"),
        pytest.param(b"", id="closed at once"),
        pytest.param(OK + b"X: y\r\n" * 200 + b"\r\n", id="200 headers"),
        pytest.param(OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n", id="long header"),
        pytest.param(http(b"\x1f\x8b" + b"\0" * 50, Content_Encoding="gzip"), id="compressed"),
        pytest.param(http("[" * 100_000 + "]" * 100_000), id="deep"),
    ],
)
def test_what_is_no_answer_is_a_broken_connection(answer: bytes) -> None:
    with serving(answering(answer)) as server:
        error = failure(server.url())
    assert isinstance(error, BrokenConnectionError) and error.retryable, error


@pytest.mark.parametrize("page", ["<!DOCTYPE html><html>502 Bad Gateway</html>", "\ufeff\n <HTML><p>sign in"])
def test_an_html_page_is_no_proposal(page: str) -> None:
    with serving(answering(http(page, Content_Type="text/html"))) as server:
        reply = ask(server.url())[2]
    with pytest.raises(ProposalRefusedError, match="an HTML page"):
        read_proposal(reply)


def test_a_server_whose_certificate_nobody_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with serving(answering(http({})), tls=context) as server:
        error = failure(server.url(scheme="https"))
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert ask(server.url(scheme="https"))[1]["status_code"] == 200
    assert type(error) is TLSFailedError and "not trusted" in str(error) and not error.retryable


def test_a_certificate_of_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with serving(answering(http({})), tls=context, host="127.0.0.2") as server:
        error = failure(f"https://127.0.0.2:{server.port}/")
    assert type(error) is TLSFailedError and server.requests == []


def test_plain_http_where_tls_was_configured() -> None:
    with serving(answering(http({}))) as server:
        # The server waits for a request that never becomes one.
        error = failure(server.url(scheme="https"), 0.4)
    assert type(error) in (AgentTimeoutError, TLSFailedError)


def test_a_server_that_does_not_take_the_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(AgentTimeoutError, match="gave up while sending the request"):
            ask(f"http://localhost:{listener.getsockname()[1]}/", 2, {"long": "x" * 30_000_000})


def test_nobody_there() -> None:
    error = failure(f"http://localhost:{free_port()}/v1")
    assert type(error) is UnreachableError and error.retryable and "nothing listens there" in str(error)
    error = failure("http://no-such-host.invalid/v1")
    assert type(error) is UnreachableError and "cannot be resolved" in str(error)


@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param(KEY, id="plain"),
        pytest.param(base64.b64encode(b"so: " + KEY.encode() + b"!").decode(), id="base64"),
        pytest.param(KEY.encode().hex(), id="hexadecimal"),
    ],
)
def test_an_agent_that_prints_our_key_back(hidden: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    arguments = (
        f'{{"summary": "s", "root_cause": "r", "edits": [{{"path": "a.py", "content": "K = \'{hidden}\'"}}]}}'
    )
    call_ = {"type": "function", "function": {"name": "propose_patch", "arguments": arguments}}
    echo = {hidden: [f"your key is {hidden}"], "choices": [{"message": {"tool_calls": [call_]}}]}
    with serving(
        answering(http(echo), http(f"<p>{hidden}"), http({"error": {"message": hidden}}, 400))
    ) as server:
        agent, info, reply = ask(server.url())
        told = repr((agent, info, reply))
        assert hidden not in told and WITHHELD in told
        with pytest.raises(ProposalRefusedError, match="repeats our own key"):
            read_proposal(reply)
        text = ask(server.url())[2]["response"]
        assert hidden not in text and WITHHELD in text
        assert hidden not in str(failure(server.url()))
    assert hidden not in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (None, "KIMI2_ENDPOINT is not set"),
        ("  ", "KIMI2_ENDPOINT is not set"),
        ("ftp://user:pa55word@host/", "does not begin with"),
        ("http://user:pa55word@/", "names no host"),
        ("http://user:pa55word@h:99999/", "cannot be parsed"),
        ("http://user:pa55word@h:0/", "its port is 0"),
        ("http://user:pa55word@h/\r\nX-Evil: 1", "percent-encoded"),
        ("http://user:pa55word@h\\@evil/", "percent-encoded"),
        ("http://[::1/", "cannot be parsed"),
    ],
)
def test_an_endpoint_that_is_none(endpoint: str | None, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _invoke_kimi2("Kimi2", endpoint, {}, KEY)
    assert words in str(caught.value) and "pa55word" not in str(caught.value)


def test_a_key_and_a_payload_that_cannot_be_sent() -> None:
    key = KEY + "\r\nX: y"
    with pytest.raises(ConfigurationError, match="KIMI2_API_KEY holds a character") as caught:
        _invoke_kimi2("Kimi2", "http://localhost:1/", {}, key)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    for payload in (loop, {"key": object()}):
        with pytest.raises(ConfigurationError, match="JSON cannot carry"):
            _invoke_kimi2("Kimi2", "http://localhost:1/", payload, KEY)
