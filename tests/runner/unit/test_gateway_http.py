"""The gateway reads a request head strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.gateway.http import MAX_HEAD, BadHead, IncompleteHead, Request, error_response, parse_head, response

HEAD = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"


def parsed(head: bytes) -> Request:
    return parse_head(head)[0]


def test_a_head_is_a_method_a_target_and_headers() -> None:
    request, end = parse_head(HEAD + b"\x81\x02{}")

    assert (request.method, request.path, request.query) == ("GET", "/a", "b=c")
    assert request.headers == {"host": "x", "upgrade": "websocket"}
    assert end == len(HEAD)


def test_a_head_that_has_not_arrived_whole_is_waited_for() -> None:
    for end in range(len(HEAD)):
        with pytest.raises(IncompleteHead):
            parse_head(HEAD[:end])


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",  # obs-fold
        b"GET / HTTP/1.1\r\nHost: x\r\n\tfolded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\nOrigin: b\r\n\r\n",  # a bare LF
        b"GET / HTTP/1.1\r\nX: a\rOrigin: b\r\n\r\n",  # a bare CR
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"GET /\nX HTTP/1.1\r\n\r\n",
        b"GET /\r HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET / HTTP/1.1x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
        b"G\x01T / HTTP/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b" \r\n\r\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(BadHead):
        parse_head(head)


def test_repeated_headers_are_joined_so_that_none_hides_behind_another() -> None:
    request = parsed(b"GET / HTTP/1.1\r\nOrigin: http://trusted.example\r\norigin: http://evil.example\r\n\r\n")

    assert request.headers["origin"] == "http://trusted.example, http://evil.example"


@pytest.mark.parametrize("whole", [True, False])
def test_a_head_that_is_too_long_is_refused_whether_or_not_it_ends(whole: bool) -> None:
    head = b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD + (b"\r\n\r\n" if whole else b"")

    with pytest.raises(BadHead, match="too long"):
        parse_head(head)


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [(b"abc-1.2_3", True), (b"x" * 128, True), (b"x" * 129, False), (b"a b", False), (b"", False), (b"a\xc3", False)],
)
def test_a_clients_valid_request_id_is_kept(given_id: bytes, kept: bool) -> None:
    request = parsed(b"GET / HTTP/1.1\r\nX-Request-Id: " + given_id + b"\r\n\r\n")

    assert (request.request_id == given_id.decode("latin-1")) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", request.request_id)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_garbage_is_never_anything_but_a_request_or_a_refusal(data: bytes) -> None:
    try:
        request, end = parse_head(data)
    except (IncompleteHead, BadHead):
        return
    assert data[:end].endswith(b"\r\n\r\n")
    assert not re.search(r"[\r\n\0]", request.target + "".join(request.headers.values()))


def test_an_error_is_the_products_envelope() -> None:
    head, _, body = error_response(404, "NOT_FOUND", "no", request_id="r1", headers={"Allow": "GET"}).partition(
        b"\r\n\r\n"
    )

    assert json.loads(body) == {"error": "no", "code": "NOT_FOUND", "request_id": "r1"}
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 404 Not Found"
    assert {"X-Request-Id: r1", "Allow: GET", "Connection: close", f"Content-Length: {len(body)}"} <= set(lines)


def test_an_answer_is_never_cached() -> None:
    assert b"Cache-Control: no-store\r\n" in response(200, b"{}", request_id="r")


def test_the_answer_to_head_has_the_headers_and_no_body() -> None:
    plain = error_response(405, "METHOD_NOT_ALLOWED", "no", request_id="r1", headers={"Allow": "GET"})

    to_head = error_response(405, "METHOD_NOT_ALLOWED", "no", request_id="r1", headers={"Allow": "GET"}, to_head=True)

    assert to_head == plain.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
