"""Responses are understood whatever the pieces they come in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razar.probes.base import ProbeError
from razar.probes.http_response import BODY_LIMIT, Response

bodies = st.binary(max_size=300)


def understand(raw: bytes, cuts: list[int]) -> Response:
    response = Response()
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        if not response.complete:
            response.feed(raw[start:end])
    if not response.complete:
        response.end()
    return response


def chunked(parts: list[bytes]) -> bytes:
    body = b"".join(b"%x;name=value\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nTrailer: x\r\n\r\n"


@given(bodies, st.lists(st.integers(0, 1000)))
def test_length(body: bytes, cuts: list[int]) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: 1\r\nx-a: 2\r\n\r\n%s" % (len(body), body)
    response = understand(raw, cuts)
    assert (response.status, response.reason, bytes(response.body)) == (200, "OK", body)
    assert response.headers["x-a"] == "1, 2"


@given(st.lists(bodies, max_size=5), st.lists(st.integers(0, 1000)))
def test_chunks(parts: list[bytes], cuts: list[int]) -> None:
    assert bytes(understand(chunked(parts), cuts).body) == b"".join(parts)


@given(bodies, st.lists(st.integers(0, 1000)))
def test_until_the_end(body: bytes, cuts: list[int]) -> None:
    response = understand(b"HTTP/1.0 200 OK\r\n\r\n" + body, cuts)
    assert (bytes(response.body), response.closes) == (body, True)


@given(st.binary(max_size=500), st.lists(st.integers(0, 1000)))
def test_anything_else_is_an_error_for_people(raw: bytes, cuts: list[int]) -> None:
    error = ""
    try:
        understand(raw, cuts)
    except ProbeError as failure:
        error = str(failure)
    assert error.isprintable()


def test_interim_answers_are_passed_over() -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    response = understand(raw, [])
    assert (response.status, response.complete, response.headers) == (200, True, {"content-length": "0"})


@pytest.mark.parametrize("status", [101, 204, 304])
def test_statuses_without_body(status: int) -> None:
    response = Response()
    response.feed(b"HTTP/1.1 %d X\r\nContent-Length: 99\r\n\r\n" % status)
    assert response.complete


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n",
    ],
)
def test_large_bodies_are_cut(raw: bytes) -> None:
    response = Response()
    response.feed(raw + b"x" * 200_000)
    assert (len(response.body), response.truncated, response.complete) == (BODY_LIMIT, True, True)


@pytest.mark.parametrize("raw", [chunked([b"abc"])[:-17], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"])
def test_body_that_is_cut_off(raw: bytes) -> None:
    with pytest.raises(ProbeError, match="HTTP 200, but its body was cut off"):
        understand(raw, [])


def test_chunk_without_size() -> None:
    with pytest.raises(ProbeError, match="a chunk of the answer has the size"):
        understand(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", [])
