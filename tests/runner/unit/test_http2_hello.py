"""How an HTTP/2 client begins: Chromium's beginning, and what is none."""

from __future__ import annotations

import pytest

from runner.identity import http2_hello
from runner.identity.http2_hello import PREFACE, NotHttp2, no_content


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def setting(name: int, value: int) -> bytes:
    return name.to_bytes(2) + value.to_bytes(4)


SETTINGS = frame(4, 0, 0, setting(1, 65536) + setting(2, 0) + setting(4, 6291456) + setting(6, 262144))
WINDOW = frame(8, 0, 0, (15663105).to_bytes(4))
# :method GET, :authority (a literal of 130 bytes), :scheme https, :path /, then a literal name
BLOCK = b"\x82\x41\x7f\x03" + b"a" * 130 + b"\x87\x84\x40\x01a\x01b\x82"
REQUEST = frame(1, 0x25, 1, b"\x80\x00\x00\x00\xff" + BLOCK)
CHROME = PREFACE + SETTINGS + WINDOW + REQUEST


def test_the_beginning_of_chromium() -> None:
    hello = http2_hello.parse(CHROME)

    assert hello.as_document()["akamai"] == "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p"
    assert (hello.stream, hello.weight) == (1, 256)


def test_another_order_of_pseudo_headers_is_seen() -> None:
    block = b"\x82\x84\x87\x41\x01a"
    assert http2_hello.parse(PREFACE + SETTINGS + frame(1, 4, 1, block)).pseudo_headers == "mpsa"


@pytest.mark.parametrize("length", range(0, len(CHROME), 7))
def test_before_the_request_has_arrived_there_is_no_stream(length: int) -> None:
    assert http2_hello.parse(CHROME[:length]).stream == 0


def test_another_protocol() -> None:
    with pytest.raises(NotHttp2):
        http2_hello.parse(b"GET / HTTP/1.1\r\n")


def test_the_answer_is_one_frame_that_ends_its_stream() -> None:
    assert no_content(1) == frame(1, 5, 1, b"\x89")
