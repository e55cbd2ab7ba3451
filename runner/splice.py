"""Two joined transports that pass bytes to each other. The egress and the gateway use it.

Back-pressure is passed on: while one end does not read, the runner does not read from the other. A buffer has at most
`HIGH_WATER` bytes plus one read.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import cast

HIGH_WATER = 2 * 2**20


class Half(asyncio.Protocol):
    """One end of a splice. Subclasses parse the first bytes; after `join` it passes bytes on."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: Half | None = None
        self.got_eof = False  # the remote end has closed its sending side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a half-close on. The transport stays open (True) while the peer may still send data."""
        self.got_eof = True
        if self.peer is None or self.peer.transport is None or self.peer.got_eof:
            return False
        if self.peer.transport.can_write_eof():
            with suppress(OSError, RuntimeError):  # the peer may have closed at the same time
                self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        peer, self.peer, self.transport = self.peer, None, None
        if peer is not None and peer.transport is not None:
            peer.peer = None
            peer.transport.close()

    def join(self, peer: Half) -> None:
        self.peer, peer.peer = peer, self

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def notice_dead_peers(sock: socket.socket, *, idle: int = 30, patience: int = 60) -> None:
    """Let the kernel detect, in about `idle + patience` seconds, a remote end that vanished without closing."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", max(1, patience // 6)),
        ("TCP_KEEPCNT", 6),
        ("TCP_USER_TIMEOUT", patience * 1000),  # data without an acknowledgement
    ):
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
