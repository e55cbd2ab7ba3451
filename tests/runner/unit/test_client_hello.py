"""JA3 and JA4 of a ClientHello, against the published example."""

from __future__ import annotations

import pytest

from runner.identity import client_hello
from runner.identity.client_hello import IncompleteHello, MalformedHello

CIPHERS = [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x9C, 0x9D, 0x2F]
SIGNATURES = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]
OTHERS = [0x0005, 0x0012, 0x0015, 0x0017, 0x001B, 0x0023, 0x002D, 0x0033, 0x4469, 0xFF01]


def numbers(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(2) for value in values)


def vector(data: bytes, size: int = 2) -> bytes:
    return len(data).to_bytes(size) + data


def record(body: bytes) -> bytes:
    return b"\x16\x03\x01" + vector(body)


def hello(*, ciphers: list[int], extensions: dict[int, bytes]) -> bytes:
    """The handshake message."""
    listed = b"".join(kind.to_bytes(2) + vector(data) for kind, data in extensions.items())
    body = b"\x03\x03" + bytes(32) + vector(b"", 1) + vector(numbers(ciphers)) + vector(b"\0", 1) + vector(listed)
    return b"\x01" + vector(body, 3)


CHROME = hello(
    ciphers=[0x2A2A, *CIPHERS, 0x35],
    extensions={
        0x3A3A: b"",
        0x0000: vector(b"\0" + vector(b"example.com")),
        0x000A: vector(numbers([0x4A4A, 0x001D, 0x0017])),
        0x000B: vector(b"\0", 1),
        0x000D: vector(numbers(SIGNATURES)),
        0x0010: vector(vector(b"h2", 1) + vector(b"http/1.1", 1)),
        0x002B: vector(numbers([0x5A5A, 0x0304, 0x0303]), 1),
        **dict.fromkeys(OTHERS, b""),
    },
)


def test_the_example_of_the_ja4_specification() -> None:
    """FoxIO/ja4, technical_details/JA4.md: t13d1516h2_8daaf6152771_e5627efa2ab1."""
    assert client_hello.parse(record(CHROME)).ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_ja3_leaves_out_grease() -> None:
    ciphers = "-".join(map(str, [*CIPHERS, 0x35]))
    extensions = "-".join(map(str, [0, 10, 11, 13, 16, 43, *OTHERS]))
    assert client_hello.parse(record(CHROME)).ja3 == f"771,{ciphers},{extensions},29-23,0"


def test_the_document_has_both_and_what_they_are_made_of() -> None:
    document = client_hello.parse(record(CHROME)).as_document()
    assert (document["alpn"], document["versions"]) == (["h2", "http/1.1"], ["0x0304", "0x0303"])
    assert len(document["ja3_hash"]) == 32


def test_a_hello_in_two_records() -> None:
    whole = client_hello.parse(record(CHROME))
    assert client_hello.parse(record(CHROME[:100]) + record(CHROME[100:])) == whole
    assert whole.server_name == "example.com"


@pytest.mark.parametrize("length", [0, 1, 5, 60, len(record(CHROME)) - 1])
def test_the_first_bytes_of_a_hello_are_incomplete(length: int) -> None:
    with pytest.raises(IncompleteHello):
        client_hello.parse(record(CHROME)[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        record(b"\x02" + vector(bytes(40), 3)),  # a ServerHello
        record(b"\x01" + vector(b"\x03\x03", 3)),
        record(b"\x01\xff\xff\xff"),
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(MalformedHello):
        client_hello.parse(data)


def test_a_hello_without_alpn_and_server_name() -> None:
    parsed = client_hello.parse(record(hello(ciphers=[0x1301], extensions={0x002B: vector(numbers([0x0304]), 1)})))
    assert parsed.ja4.startswith("t13i010100_")
