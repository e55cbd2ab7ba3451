"""Read a TLS ClientHello (RFC 8446, 4.1.2) and give its JA3 and JA4 fingerprints. Pure.

JA3: md5 over version, ciphers, extensions, groups and point formats, without GREASE (salesforce/ja3). Chromium orders
its extensions at random, so its JA3 differs between connections. JA4 sorts them (FoxIO, technical_details/JA4.md).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

HANDSHAKE, CLIENT_HELLO = 22, 1
SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, VERSIONS = 0, 10, 11, 13, 16, 43
MAX_BYTES = 64 * 1024
VERSION_NAMES = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}


class IncompleteHello(Exception):
    """More bytes are needed."""


class MalformedHello(Exception):
    """Not a TLS ClientHello."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """Numbers as they were sent, with GREASE (RFC 8701) in its place."""

    version: int
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...]
    point_formats: tuple[int, ...]
    signatures: tuple[int, ...]
    versions: tuple[int, ...]
    alpn: tuple[str, ...]
    server_name: str

    @property
    def ja3(self) -> str:
        fields = (
            (self.version,),
            _plain(self.ciphers),
            _plain(self.extensions),
            _plain(self.groups),
            self.point_formats,
        )
        return ",".join("-".join(map(str, field)) for field in fields)

    @property
    def ja4(self) -> str:
        ciphers, extensions = _plain(self.ciphers), _plain(self.extensions)
        version = max(_plain(self.versions), default=self.version)
        alpn = self.alpn[0] if self.alpn else ""
        ends = alpn[0] + alpn[-1] if alpn else "00"
        head = (
            f"t{VERSION_NAMES.get(version, '00')}{'d' if SERVER_NAME in extensions else 'i'}"
            f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}{ends}"
        )
        named = _hex(sorted(each for each in extensions if each not in (SERVER_NAME, ALPN)))
        signatures = _hex(_plain(self.signatures))
        last = f"{named}_{signatures}" if signatures else named
        return f"{head}_{_short_hash(_hex(sorted(ciphers)))}_{_short_hash(last)}"

    def as_document(self) -> dict[str, Any]:
        """The part `tls` of a measured fingerprint."""
        ja3 = self.ja3
        return {
            "ja3": ja3,
            "ja3_hash": hashlib.md5(ja3.encode(), usedforsecurity=False).hexdigest(),
            "ja4": self.ja4,
            "alpn": list(self.alpn),
            "versions": [f"0x{version:04x}" for version in _plain(self.versions)],
        }


def parse(data: bytes) -> ClientHello:
    """The ClientHello at the start of a connection's bytes. Raises IncompleteHello or MalformedHello."""
    return _hello(_handshake(data))


def _handshake(data: bytes) -> bytes:
    """The body of the first handshake message, from one or several records."""
    body = b""
    while True:
        if data[:1] not in (b"", bytes([HANDSHAKE])) or (body and body[0] != CLIENT_HELLO):
            raise MalformedHello("not a ClientHello")
        if len(body) >= 4:
            wanted = 4 + int.from_bytes(body[1:4])
            if wanted > MAX_BYTES:
                raise MalformedHello("too long")
            if len(body) >= wanted:
                return body[4:wanted]
        if len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5]):
            raise IncompleteHello
        end = 5 + int.from_bytes(data[3:5])
        body, data = body + data[5:end], data[end:]


def _hello(body: bytes) -> ClientHello:
    reader = _HelloReader(body)
    version = int.from_bytes(reader.take(2))
    reader.take(32)  # random
    reader.vector(1)  # session id
    ciphers = reader.vector(2)
    reader.vector(1)  # compression
    extensions: dict[int, bytes] = {}
    rest = _HelloReader(reader.vector(2))
    while rest.left:
        kind = int.from_bytes(rest.take(2))
        extensions[kind] = rest.vector(2)
    return ClientHello(
        version=version,
        ciphers=_numbers(ciphers),
        extensions=tuple(extensions),
        groups=_numbers(_inner(extensions, GROUPS, 2)),
        point_formats=tuple(_inner(extensions, POINT_FORMATS, 1)),
        signatures=_numbers(_inner(extensions, SIGNATURES, 2)),
        versions=_numbers(_inner(extensions, VERSIONS, 1)),
        alpn=_protocols(_inner(extensions, ALPN, 2)),
        # The list has one name; its type (host_name) is the first byte.
        server_name=_inner(extensions, SERVER_NAME, 2)[3:].decode("ascii", errors="replace"),
    )


class _HelloReader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self, count: int) -> bytes:
        if len(self._data) < count:
            raise MalformedHello("a field is cut off")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def vector(self, size: int) -> bytes:
        """Bytes after a length of `size` bytes."""
        return self.take(int.from_bytes(self.take(size)))


def _inner(extensions: dict[int, bytes], kind: int, size: int) -> bytes:
    return _HelloReader(extensions[kind]).vector(size) if kind in extensions else b""


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data) - 1, 2))


def _protocols(data: bytes) -> tuple[str, ...]:
    reader, found = _HelloReader(data), []
    while reader.left:
        found.append(reader.vector(1).decode("ascii", errors="replace"))
    return tuple(found)


def _plain(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Without GREASE: 0x0a0a, 0x1a1a, … 0xfafa."""
    return tuple(each for each in numbers if each & 0x0F0F != 0x0A0A or each >> 8 != each & 0xFF)


def _hex(numbers: list[int] | tuple[int, ...]) -> str:
    return ",".join(f"{each:04x}" for each in numbers)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12
