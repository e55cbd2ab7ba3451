"""Read how an HTTP/2 client begins (RFC 9113, 3.4): settings, window, and the order of its pseudo-header fields. Pure.

`akamai` is the form in which detectors compare these: "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p" (Akamai,
Passive Fingerprinting of HTTP/2 Clients, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
ACK, PADDED, PRIORITY = 1, 8, 32
# RFC 7541, appendix A: the entries of the static table that have pseudo-header names.
PSEUDO = {1: "a", 2: "m", 3: "m", 4: "p", 5: "p", 6: "s", 7: "s"}
# What a server answers: its settings, and 204 to the stream's request.
ANSWER_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"
NO_CONTENT = b"\x89"  # ":status: 204" is entry 9


class NotHttp2(Exception):
    """The client sent no HTTP/2 preface."""


@dataclass(slots=True)
class Http2Hello:
    """What has arrived so far. `stream` is the id of the first request, 0 before it."""

    settings: list[tuple[int, int]] = field(default_factory=list)
    window: int = 0
    weight: int | None = None
    pseudo_headers: str = ""
    stream: int = 0

    def as_document(self) -> dict[str, Any]:
        settings = ";".join(f"{name}:{value}" for name, value in self.settings)
        return {
            "akamai": f"{settings}|{self.window}|0|{','.join(self.pseudo_headers)}",
            "settings": [list(pair) for pair in self.settings],
            "window": self.window,
            "weight": self.weight,
            "pseudo_headers": self.pseudo_headers,
        }


def parse(data: bytes) -> Http2Hello:
    """The beginning of a connection, up to the first request that arrived. Raises NotHttp2."""
    if not PREFACE.startswith(data[: len(PREFACE)]):
        raise NotHttp2
    hello, rest = Http2Hello(), data[len(PREFACE) :]
    while len(rest) >= 9 and not hello.stream:
        length, kind, flags = int.from_bytes(rest[:3]), rest[3], rest[4]
        stream = int.from_bytes(rest[5:9]) & 0x7FFFFFFF
        if len(rest) < 9 + length:
            break
        payload, rest = rest[9 : 9 + length], rest[9 + length :]
        if kind == SETTINGS and not flags & ACK:
            hello.settings = [
                (int.from_bytes(payload[at : at + 2]), int.from_bytes(payload[at + 2 : at + 6]))
                for at in range(0, length, 6)
            ]
        elif kind == WINDOW_UPDATE and not stream:
            hello.window = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        elif kind == HEADERS:
            hello.stream = stream
            block = payload[1:] if flags & PADDED else payload
            if flags & PRIORITY:
                hello.weight = block[4] + 1
                block = block[5:]
            hello.pseudo_headers = _pseudo_headers(block)
    return hello


def _pseudo_headers(block: bytes) -> str:
    """The first letters of the fields at the start of a header block (RFC 7541, 6), up to the first ordinary field."""
    found, at = "", 0
    while at < len(block):
        first = block[at]
        if first & 0x80:  # an indexed field
            index, at = _integer(block, at, 7)
        else:  # a literal value; its name is an index, or 0 and a literal
            index, at = _integer(block, at, 6 if first & 0x40 else 4)
            length, at = _integer(block, at, 7)
            at += length
        if index not in PSEUDO:
            break
        found += PSEUDO[index]
    return found


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """RFC 7541, 5.1: an integer in the last `bits` of a byte, and where it ends."""
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    if value < most:
        return value, at
    shift = 0
    while at < len(block):
        byte, at = block[at], at + 1
        value += (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return value, at


def no_content(stream: int) -> bytes:
    """A whole answer to the request of a stream."""
    # END_STREAM and END_HEADERS
    return len(NO_CONTENT).to_bytes(3) + bytes([HEADERS, 5]) + stream.to_bytes(4) + NO_CONTENT
