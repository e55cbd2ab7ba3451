"""A connection to a literal address, the resolution of names, and the far end of a browser's connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from enum import Enum
from typing import cast

from addresses.policy import Address, parse_address
from runner.splice import Half, notice_dead_peers

CONNECT_SECONDS = 10.0
RESOLVE_SECONDS = 10.0
MAX_ADDRESSES = 4
MAX_EARLY = 256 * 1024  # bytes that a site may send before the browser reads


class Refusal(Enum):
    """Why a connection failed; the values are for log and error texts."""

    POLICY = "refused by the address policy"
    NAME = "name not resolved"
    REFUSED = "connection refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timed out"
    UPSTREAM = "no upstream proxy of the country works"
    TUNNEL = "the country's upstream proxy did not reach the site"


class DialError(Exception):
    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}{': ' + detail if detail else ''}")
        self.refusal = refusal


async def resolve(host: str) -> list[Address]:
    """Every address of `host`, in the system's order. Raises DialError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            infos = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise DialError(Refusal.NAME, host) from error
    found = [parse_address(str(info[4][0])) for info in infos]
    return [address for address in dict.fromkeys(found) if address is not None]


async def connect(address: str, port: int) -> socket.socket:
    """A TCP connection to a literal address. Raises DialError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException as error:
        sock.close()
        if isinstance(error, ConnectionRefusedError):
            raise DialError(Refusal.REFUSED, f"{address}:{port}") from error
        if isinstance(error, TimeoutError):
            raise DialError(Refusal.TIMEOUT, f"{address}:{port}") from error
        if isinstance(error, OSError):
            raise DialError(Refusal.UNREACHABLE, f"{address}:{port}") from error
        raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class SiteEnd(Half):
    """A connection to a site, direct or through an upstream proxy.

    The remote end may send data or close before the browser has the SOCKS reply: until `join` the data is kept, for
    `send_early` or for the handshake with a proxy, which reads it with `read_exactly` and `read_until`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._early = b""
        self._arrival: asyncio.Future[None] | None = None

    @classmethod
    async def over(
        cls, sock: socket.socket, *, tls: ssl.SSLContext | None = None, server_name: str | None = None
    ) -> SiteEnd:
        """The end over a connected socket, which it owns. Raises OSError (also of `ssl`)."""
        notice_dead_peers(sock)
        try:
            _transport, end = await asyncio.get_running_loop().create_connection(
                cls, sock=sock, ssl=tls, server_hostname=server_name
            )
        except BaseException:
            sock.close()
            raise
        return end

    def write(self, data: bytes) -> None:
        """Send `data`. If the connection is closed, the next read raises EOFError."""
        if self.transport is not None:
            self.transport.write(data)

    async def start_tls(self, tls: ssl.SSLContext, server_name: str) -> None:
        """Begin TLS with the site itself. Raises OSError or EOFError."""
        if self.transport is None:
            raise EOFError
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self.transport, self, tls, server_hostname=server_name)
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            super().data_received(data)
            return
        self._early += data
        if len(self._early) > MAX_EARLY and self.transport is not None:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        stays_open = super().eof_received() or self.peer is None
        self._wake()
        # TLS has no half-close: the transport closes after the peer's end, whatever is returned.
        return stays_open and self.transport is not None and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wake()

    @property
    def is_over(self) -> bool:
        """True when the connection is closed and nothing of it is left to read."""
        return self.transport is None and not self._early

    def send_early(self) -> None:
        """Pass on what arrived before `join`; if the connection is closed already, close the peer after it."""
        if self._early:
            if len(self._early) > MAX_EARLY and self.transport is not None:
                self.transport.resume_reading()
            early, self._early = self._early, b""
            super().data_received(early)
        if self.transport is None and self.peer is not None:
            self.peer.close()
        elif self.got_eof:
            super().eof_received()

    async def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError."""
        while len(self._early) < count:
            await self._more()
        data, self._early = self._early[:count], self._early[count:]
        return data

    async def read_until(self, end: bytes, *, starts: bytes, limit: int) -> bytes:
        """The bytes up to and with `end`. Raises EOFError, and ValueError for data of another protocol: it does not
        begin with `starts`, or has no `end` within `limit` bytes.
        """
        while True:
            head, found, rest = self._early.partition(end)
            if not head.startswith(starts[: len(head)]) or len(head) > limit:
                raise ValueError("data of another protocol")
            if found:
                self._early = rest
                return head + found
            await self._more()

    async def read_to_end(self, *, limit: int) -> bytes:
        """All bytes until the remote end closes, or the first `limit` or more."""
        with suppress(EOFError):
            while len(self._early) < limit:
                await self._more()
        data, self._early = self._early, b""
        return data

    async def _more(self) -> None:
        if self.got_eof or self.transport is None:
            raise EOFError
        self._arrival = asyncio.get_running_loop().create_future()
        await self._arrival

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
